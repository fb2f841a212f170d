"""One exception tree; each branch is one exit code of the command line.

A message is one line that names the file, says what is wrong and what to do.
``MfsEdgeError`` itself is never raised.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from mfs_edge.base.printable import printable


class MfsEdgeError(Exception):
    """Base of everything mfs-edge reports to a user; ``exit_code`` is the process's."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.splitlines())))  # a path may hold a line break, or worse


class CheckFailed(MfsEdgeError):
    """The work was done, but a check said no: verification, a budget, a regression."""

    exit_code = 1


class UsageError(MfsEdgeError):
    """An option or argument cannot be used as given."""

    exit_code = 2


class InputError(MfsEdgeError):
    """A file is not what it should be."""

    exit_code = 2


class CheckpointError(InputError):
    """A checkpoint cannot be read, or does not match its network's definition."""


class IdentityError(InputError):
    """An identity or photograph cannot be used."""


class OutputError(MfsEdgeError):
    """The results cannot be written where they were asked for."""

    exit_code = 2


class MissingDependency(MfsEdgeError):
    """A pip extra or a tool is missing; the message names it."""

    exit_code = 3


class DeviceError(MfsEdgeError):
    """A device cannot be reached, or died half-way."""

    exit_code = 4


class LoweringError(InputError):
    """A node of the graph has no counterpart in a target's format."""


class PassError(MfsEdgeError):
    """A graph pass broke its contract: a defect in mfs-edge, not in the input."""


def nearest(name: str, offered: Iterable[str]) -> str:
    """For a message: "did you mean ...? ", or nothing where no name that is offered comes near."""
    near = difflib.get_close_matches(name, list(offered), n=1, cutoff=0.4)
    return f"did you mean {near[0]}? " if near else ""
