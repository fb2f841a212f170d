"""Arrays in ``.npy`` and ``.npz`` files, described by their headers before any of their data is read.

A few kilobytes of zip can unpack to all of the memory, so what an array will take is judged first.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfs_edge.load import limits, zips

_HEADER_BYTES = 1 << 14  # more than numpy itself accepts
_ZIP = b"PK"


@dataclass(frozen=True)
class Stored:
    """An array that was described, but not read."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    @property
    def bytes(self) -> int:
        """That it takes in memory."""
        return math.prod(self.shape) * self.dtype.itemsize


def open_arrays(path: Path) -> dict[str, Stored]:
    """Name -> array of an ``.npz``; that of a ``.npy`` has the name "". Told by content, no pickle is read.

    Raises:
        limits.TooLarge: it holds more arrays than the bound.
        Exception: whatever damaged files provoke in zipfile and in numpy's reader.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    if not head.startswith(_ZIP):
        return {"": _described(head, lambda: np.load(path, allow_pickle=False))}
    with zips.opened(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        limits.check_arrays(len(members))
        return {name.removesuffix(".npy"): _member(archive, path, name) for name in members}


def _member(archive: zipfile.ZipFile, path: Path, name: str) -> Stored:
    with archive.open(name) as stream:
        return _described(stream.read(_HEADER_BYTES), lambda: _read_member(path, name))


def _read_member(path: Path, name: str) -> np.ndarray:
    """All of it, to the end, where the zip's checksum is compared."""
    with zips.opened(path) as archive, archive.open(name) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        if stream.read(1):
            raise ValueError(f"{name} has data behind its array")
        return array


def _described(head: bytes, read: Callable[[], np.ndarray]) -> Stored:
    stream = io.BytesIO(head)
    version = np.lib.format.read_magic(stream)
    parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _fortran, dtype = parse(stream)
    return Stored(shape, dtype, read)
