"""Read a pickle of numpy arrays and plain containers, and nothing else.

A pickle is a program. This reader resolves a name only if it is one of the few that
numpy arrays are made of, and even those it replaces by the small stand-ins below, so
that no code outside this file runs on a stranger's data. The stand-ins cannot be altered
from inside a pickle (its BUILD instruction sets attributes of whatever it is given).

Format: CPython ``pickle`` protocols 0-5; array state as in ``numpy.ndarray.__reduce__``.
"""

from __future__ import annotations

import collections
import math
import mmap
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np

_DTYPES = frozenset(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"])
_MEMO = ("PUT", "BINPUT", "LONG_BINPUT")
_QUOTED = 60  # characters of a stranger's text in a message


class Refused(pickle.UnpicklingError):
    """The pickle holds what this reader does not admit; the text completes "it contains ..."."""


def quoted(text: Any) -> str:
    """``text`` from a stranger's file, safe for one line of a terminal."""
    shown = ascii(text[:_QUOTED] if isinstance(text, str) else type(text).__name__)[1:-1]
    return f"{shown}..." if isinstance(text, str) and len(text) > _QUOTED else shown


class _Dtype:
    """Stands for ``numpy.dtype``; only plain numbers exist."""

    def __init__(self, code: Any, *_flags: Any) -> None:
        if not isinstance(code, str) or code.lstrip("<>=|") not in _DTYPES:
            raise Refused(f"an array of dtype {quoted(code)}, which is not a plain number type")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.value = self.value.newbyteorder(state[1])


class _Array:
    """Stands for ``numpy.ndarray`` until its state arrives; then ``value`` is the array."""

    value: np.ndarray | np.generic | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise Refused("an array with a malformed state")
        _version, shape, dtype, fortran, raw = state
        self.value = _decode(raw, dtype, shape, "F" if fortran else "C")


def _decode(raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """A writable native-endian copy of ``raw``, after checking that its length fits."""
    if isinstance(raw, str):  # a Python 2 byte string, read as latin-1
        raw = raw.encode("latin-1")
    shape_ok = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    if not (shape_ok and isinstance(dtype, _Dtype) and isinstance(raw, bytes | bytearray) and order in ("C", "F")):
        raise Refused("an array with a malformed state")
    if len(raw) != math.prod(shape) * dtype.value.itemsize:
        raise Refused(f"an array whose {len(raw)} bytes of data do not fit its shape")
    array = np.frombuffer(raw, dtype.value).reshape(shape, order=order)
    return array.astype(dtype.value.newbyteorder("="), copy=True)


class _Function:
    """A function that a pickle may call but not alter."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, _state: Any) -> None:
        raise Refused("a state for a function")


def _reconstruct(kind: Any, _shape: Any, _typecode: Any) -> _Array:
    if kind is not _NDARRAY:
        raise Refused("an array subclass")
    return _Array()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> _Array:
    """Protocol 5; ``order`` "K" with ``axes`` is how numpy 2.4 writes a transposed array."""
    array = _Array()
    if order == "K" and isinstance(axes, tuple):
        array.value = _decode(raw, dtype, shape, "C").transpose(axes)
    else:
        array.value = _decode(raw, dtype, shape, order)
    return array


def _scalar(dtype: Any, raw: Any) -> _Array:
    array = _Array()
    array.value = _decode(raw, dtype, (), "C")[()]
    return array


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused("a text codec other than latin-1")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    return b""


_NDARRAY = object()  # only ever an argument of _reconstruct, so it needs no behaviour
_BUILTINS = ("builtins", "__builtin__")  # since Python 3, and before
_NUMPY = {"_reconstruct": _Function(_reconstruct), "scalar": _Function(_scalar)}
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Dtype,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _Function(_encode),  # how protocol 2 writes bytes
    **{(module, "bytes"): _Function(_no_bytes) for module in _BUILTINS},  # and how it writes none
    **{(module, "tuple"): tuple for module in _BUILTINS},  # Paddle writes a tensor as tuple((name, array))
    **{(f"numpy.{core}.multiarray", name): f for core in ("core", "_core") for name, f in _NUMPY.items()},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Function(_from_buffer) for core in ("core", "_core")},
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise Refused(f"the code {quoted(module)}.{quoted(name)}") from None

    def persistent_load(self, _pid: Any) -> Any:
        raise Refused("references to data outside the file")


def _scan(file: BinaryIO) -> None:
    """Check that every length in the file is covered by data.

    The C reader allocates what a length or memo number says before it looks whether the
    file is that long, so that ten bytes can ask it for all of the memory.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        size = len(data)
        operations = pickletools.genops(cast("IO[bytes]", data))  # it needs read and readline, which a map has
        for count, (opcode, argument, _position) in enumerate(operations):
            limit = size if opcode.name == "FRAME" else count if opcode.name in _MEMO else None
            if limit is not None and not (isinstance(argument, int) and argument <= limit):
                raise ValueError(f"{opcode.name} {argument}: beyond what the file holds")


class Rebuild:
    """Copy plain containers with ``convert`` applied to everything else, each object once.

    Once, because a few bytes can nest shared lists that would take for ever to walk.
    """

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        self._convert = convert
        self._done: dict[int, Any] = {}

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, dict | list | tuple):
            return self._convert(value)
        if id(value) not in self._done:
            self._done[id(value)] = self._container(value)
        return self._done[id(value)]

    def _container(self, value: Any) -> Any:
        if isinstance(value, dict):  # dict.items: an OrderedDict's attributes are the file's to set
            return {key: self(item) for key, item in dict.items(value)}
        items = [self(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items


def _unwrap(value: Any) -> Any:
    if not isinstance(value, _Array):
        return value
    if value.value is None:
        raise Refused("an array without data")
    return value.value


def load(path: Path) -> Any:
    """The object in ``path``, its arrays as ``numpy.ndarray``.

    Raises:
        Refused: it holds anything but arrays and plain containers.
        Exception: whatever a damaged pickle provokes in the standard library's reader.
    """
    with path.open("rb") as file:
        _scan(file)
        file.seek(0)
        return Rebuild(_unwrap)(_Reader(file, encoding="latin1").load())
