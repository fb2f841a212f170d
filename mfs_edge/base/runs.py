"""Runs of bytes in an artefact that belong to one identity: what they hold, and how they are found.

An array of an identity stands somewhere in the artefact's files as it is, under one of a few layouts.
So nothing must be known of a format: the bytes are looked for, and each must be there exactly once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mfs_edge.base.errors import LoweringError

if TYPE_CHECKING:
    import numpy as np

IDENTITY_SHA256 = "identity_sha256"  # the tensor name of a run that holds the identity's hash, as 64 hex digits
TEXT, DERIVED = "text", "derived"  # in the place of a dtype: no numbers, and bytes that follow from others
TYPES = ("float32", "float16", "int8")
LAYOUTS = ((0, 1, 2, 3), (0, 2, 3, 1), (1, 2, 3, 0), (1, 0, 2, 3), (2, 3, 1, 0), (2, 3, 0, 1))


@dataclass(frozen=True)
class Run:
    """Consecutive bytes of one file that another identity fills otherwise.

    For an identity they are ``owned[tensor].transpose(axes)`` as ``dtype``, little-endian; its hash, where
    ``tensor`` is IDENTITY_SHA256; or what the target's ``derived`` says, where ``dtype`` is DERIVED.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  # of a manifest's, which is strict

    file: str  # relative to the artefact's folder, which is its manifest's; with forward slashes
    offset: int
    bytes: int
    tensor: str
    dtype: str  # one of TYPES, TEXT or DERIVED
    axes: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        return self.offset + self.bytes


@dataclass(frozen=True)
class Derived:
    """Bytes that follow from an artefact's other bytes, such as a checksum."""

    file: str
    offset: int
    data: bytes
    name: str


def encode(array: np.ndarray, dtype: str, axes: tuple[int, ...]) -> bytes:
    """The bytes of ``array``, of any shape, in a file: its axes transposed, as ``dtype``, little-endian."""
    import numpy as np

    return np.ascontiguousarray(array.transpose(axes), np.dtype(dtype).newbyteorder("<")).tobytes()


def search(contents: Mapping[str, bytes], owned: Mapping[str, np.ndarray]) -> tuple[Run, ...]:
    """Where each array of ``owned`` stands in ``contents``.

    Args:
        contents: file, as in :class:`Run` -> its bytes.
        owned: name -> float32, float16 or int8 array, [C, 1, k, k] or [O, I, 1, 1]. Halves may be
            stored as float32, which is exact.

    Raises:
        LoweringError: one is not there, or at several places.
    """
    return tuple(_found(contents, name, array) for name, array in owned.items())


def texts(contents: Mapping[str, bytes], sha256: str) -> tuple[Run, ...]:
    """Every place where the identity's hash stands."""
    places = [(file, at) for file, held in contents.items() for at in _places(held, sha256.encode())]
    return tuple(Run(file, at, len(sha256), IDENTITY_SHA256, TEXT) for file, at in places)


def _found(contents: Mapping[str, bytes], name: str, array: np.ndarray) -> Run:
    forms: dict[bytes, tuple[str, tuple[int, ...]]] = {}
    for dtype in (array.dtype.name, *(["float32"] if array.dtype.name == "float16" else [])):
        for axes in _layouts(array.shape):
            forms.setdefault(encode(array, dtype, axes), (dtype, axes))
    hits = [
        Run(file, at, len(data), name, dtype, axes)
        for data, (dtype, axes) in forms.items()
        for file, held in contents.items()
        for at in _places(held, data)
    ]
    if len(hits) == 1:
        return hits[0]
    raise LoweringError(
        f"{', '.join(contents)}: tensor {name} of the identity is found {len(hits)} times and not once, so that no "
        "pack can replace it; this is a defect of the target, please report it"
    )


def _layouts(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The layouts that order an array of ``shape`` differently: an axis of length 1 may stand anywhere."""
    known = LAYOUTS if len(shape) == len(LAYOUTS[0]) else (tuple(range(len(shape))),)
    different = {tuple(axis for axis in axes if shape[axis] > 1): axes for axes in reversed(known)}
    return list(different.values())[::-1] if math.prod(shape) else []


def _places(held: bytes, data: bytes) -> Iterator[int]:
    at = held.find(data)
    while at >= 0:
        yield at
        at = held.find(data, at + 1)
