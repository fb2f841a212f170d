"""Read a pickle of numpy arrays and plain containers, and nothing else.

A pickle is a program. This reader resolves a name only if it is one of the few that
numpy arrays are made of, and even those it replaces by the small stand-ins below, so
that no code outside this file runs on a stranger's data.

Format: CPython ``pickle`` protocols 0-5; array state as in ``numpy.ndarray.__reduce__``.
"""

from __future__ import annotations

import collections
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

_DTYPES = frozenset("f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1".split())


class _Dtype:
    """Stands for ``numpy.dtype``; only plain numbers exist."""

    def __init__(self, code: Any, *_flags: Any) -> None:
        if not isinstance(code, str) or code.lstrip("<>=|") not in _DTYPES:
            raise pickle.UnpicklingError(f"an array of dtype {code!r}, which is not a plain number type")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.value = self.value.newbyteorder(state[1])


class _Array:
    """Stands for ``numpy.ndarray`` until its state arrives; then ``value`` is the array."""

    value: np.ndarray

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array with a malformed state")
        _version, shape, dtype, fortran, raw = state
        self.value = _decode(raw, dtype, shape, "F" if fortran else "C")


def _decode(raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """A writable native-endian copy of ``raw``, after checking that its length fits."""
    if isinstance(raw, str):  # a Python 2 byte string, read as latin-1
        raw = raw.encode("latin-1")
    shape_ok = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    if not (shape_ok and isinstance(dtype, _Dtype) and isinstance(raw, bytes | bytearray) and order in ("C", "F")):
        raise pickle.UnpicklingError("an array with a malformed state")
    if len(raw) != math.prod(shape) * dtype.value.itemsize:
        raise pickle.UnpicklingError(f"an array of shape {list(shape)} with {len(raw)} bytes of data")
    array = np.frombuffer(raw, dtype.value).reshape(shape, order=order)
    return array.astype(dtype.value.newbyteorder("="), copy=True)


def _reconstruct(kind: Any, _shape: Any, _typecode: Any) -> _Array:
    if kind is not _NDARRAY:
        raise pickle.UnpicklingError("an array subclass")
    return _Array()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.value = _decode(raw, dtype, shape, order)
    return array


def _scalar(dtype: Any, raw: Any) -> _Array:
    return _from_buffer(raw, dtype, (), "C")


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("a text codec other than latin-1")
    return text.encode("latin-1")


_NDARRAY = object()  # only ever an argument of _reconstruct, so it needs no behaviour
_NUMPY = {"_reconstruct": _reconstruct, "scalar": _scalar}
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Dtype,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "tuple"): tuple,  # Paddle writes a tensor as tuple((name, array))
    ("_codecs", "encode"): _encode,  # how protocol 2 writes bytes
    **{(f"numpy.{core}.multiarray", name): f for core in ("core", "_core") for name, f in _NUMPY.items()},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the code {module}.{name}") from None


def _unwrap(value: Any) -> Any:
    """Replace the stand-ins by their arrays, through plain containers."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {key: _unwrap(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_unwrap(item) for item in value)
    return value


def load(path: Path) -> Any:
    """The object in ``path``, its arrays as ``numpy.ndarray``.

    Raises:
        pickle.UnpicklingError: it holds anything but arrays and plain containers; the
            text completes the sentence "it contains ...".
        Exception: whatever a damaged pickle provokes in the standard library's reader.
    """
    with path.open("rb") as file:
        return _unwrap(_Reader(file, encoding="latin1").load())
