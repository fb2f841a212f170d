"""A zip opened after its table of contents was bounded."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mfs_edge.load import limits

_ENTRY = 46  # bytes of a table's entry without its name


class _Bounded(io.FileIO):
    """A file of which a whole table of contents is read, and so asked for, at once."""

    bound: int | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        if self.bound is not None and size is not None and size > self.bound:
            raise limits.TooLarge(
                f"is a zip whose table of contents takes {size / 1e6:.3g} MB (up to {size // _ENTRY:,} members)",
                f"{self.bound / 1e6:g} MB",
            )
        return super().read(size)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip at ``path``, to read.

    Raises:
        limits.TooLarge: its table of contents is longer than the bound.
        Exception: whatever damaged files provoke in zipfile.
    """
    with _Bounded(path) as file:
        file.bound = limits.contents()
        with zipfile.ZipFile(file) as archive:
            file.bound = None  # members have bounds of their own
            yield archive
