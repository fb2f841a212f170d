"""What is fuzzed: one harness per reader, registered by a decorator, in ``readers/``, a file per family.

A harness is a function that reads what lies at a path, as the product does. What it is fed with are
edits of samples that are written at run time, so that they are always today's.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st

READERS = "tests.fuzz.readers"
Read = Callable[[Path], object]
Structure = Callable[[bytes], st.SearchStrategy[bytes]]  # sound bytes -> edits that know the format


@dataclass(frozen=True)
class Sample:
    """A sound input: the bytes that are edited, and the files that lie beside them as they are."""

    data: bytes
    beside: Mapping[str, bytes] = field(default_factory=dict)  # relative path -> content


@dataclass(frozen=True)
class Harness:
    """A reader, what to feed it with, and how to find it in another process."""

    name: str
    module: str
    file: str  # relative path of the edited file, as the reader expects it
    read: Read
    samples: Callable[[], Sequence[Sample]]
    structures: tuple[Structure, ...] = ()
    share: float = 1.0  # of the examples, against the other readers'
    known: Callable[[], Sequence[bytes]] = tuple  # hostile files that are better made than stored

    @property
    def address(self) -> str:
        """For another process: see :func:`at`."""
        return f"{self.module}:{self.name}"


_HARNESSES: dict[str, Harness] = {}


def reader(
    name: str,
    *,
    file: str,
    samples: Callable[[], Sequence[Sample]],
    structures: Sequence[Structure] = (),
    share: float = 1,
    known: Callable[[], Sequence[bytes]] = tuple,
) -> Callable[[Read], Read]:
    """Register the function that follows as the harness ``name``.

    Args:
        file: the name under which the edited bytes lie, in a folder of their own.
        samples: sound inputs; called once in a process.
        structures: edits that know the format; edits of bytes are always made, too.
        share: of the examples, against the others'.
        known: makes hostile files that are read as those in ``corpus/`` are, and would be large there.
    """

    def register(read: Read) -> Read:
        made = Harness(name, read.__module__, file, read, functools.cache(samples), tuple(structures), share, known)
        _HARNESSES[made.address] = made
        return read

    return register


def at(address: str) -> Harness:
    """The harness that ``Harness.address`` names; imports its module."""
    importlib.import_module(address.partition(":")[0])
    return _HARNESSES[address]


def harnesses() -> dict[str, Harness]:
    """Every reader of the product by name, in alphabetical order."""
    package = importlib.import_module(READERS)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{READERS}.{module.name}")
    ours = (made for made in _HARNESSES.values() if made.module.startswith(READERS))
    return {made.name: made for made in sorted(ours, key=lambda made: made.name)}
