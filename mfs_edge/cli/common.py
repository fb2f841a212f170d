"""What the commands share: the ``--json`` switch and what it makes of failures, and where progress goes."""

from __future__ import annotations

import contextlib
import json as jsonlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mfs_edge.base.errors import CheckFailed, MfsEdgeError, OutputError

if TYPE_CHECKING:
    from mfs_edge.base.progress import Recorded

PATH = click.Path(path_type=Path)
sha256_option = click.option(
    "--sha256",
    multiple=True,
    metavar="HEX",
    help="What the checkpoint file must have; repeat it for two files. The hash that was read is shown.",
)
face_models_option = click.option(
    "--face-models",
    type=PATH,
    metavar="DIR",
    help="Where the models that find faces are, if not where mfs-edge face-models puts them.",
)
json_option = click.option("--json", is_flag=True, help="Print one machine-readable object and nothing else.")


@contextlib.contextmanager
def system_errors() -> Iterator[None]:
    """What the system refuses (a name too long, a right, space) and nobody has said better, as one of ours.

    Raises:
        OutputError: in the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not the system's
            raise
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        raise OutputError(f"{where}{error.strerror}; choose another path, or give what it lacks") from error


@contextlib.contextmanager
def json_errors(enabled: bool) -> Iterator[None]:
    """With ``--json`` a failure, too, is one object on standard output."""
    try:
        with system_errors():
            yield
    except MfsEdgeError as error:
        if enabled and not isinstance(error, CheckFailed):  # those come after the result was printed
            click.echo(jsonlib.dumps({"error": str(error), "exit_code": error.exit_code}))
        raise


def steps_for(*, json: bool) -> Recorded:
    """Shown on the terminal, or only remembered."""
    from mfs_edge.base import progress

    return progress.Recorded() if json else progress.Printed()
