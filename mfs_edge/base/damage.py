"""What reading a damaged file looks like, told as one line that names the file."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

from mfs_edge.base.errors import InputError
from mfs_edge.base.reasons import named

# A reader meets damage where a number, name or index in the file leads nowhere. StopIteration leaves a
# generator as RuntimeError, of which RecursionError is one, too.
SIGNS = (ArithmeticError, LookupError, MemoryError, RuntimeError, StopIteration, TypeError, ValueError, struct.error)


@contextlib.contextmanager
def told_of(path: Path, what: str) -> Iterator[None]:
    """Around the reading of ``path``, which should be ``what``.

    Raises:
        InputError: in place of whatever damage looks like; other exceptions pass.
    """
    try:
        yield
    except SIGNS as error:
        raise InputError(
            f"{path}: is damaged, or no {what} file that can be read ({named(error)}); write or copy it again"
        ) from error
