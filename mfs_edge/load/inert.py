"""Stand-ins for what checkpoints name: data of our own making, which does nothing.

A pickle's names are looked up in :func:`admitted` and nowhere else. No class of numpy, torch, Paddle
or the standard library is handed to a pickle, except immutable types that cannot act; what comes out
are arrays, plain containers and :class:`Inert` for what is of no use here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfs_edge.load.keys import small
from mfs_edge.load.limits import Budget
from mfs_edge.load.refusal import Refused, quoted

_NUMBERS = frozenset(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "c8", "c16"])
_TEXTS = "SUMm"  # bytes, text, times: their values are of no use here
_POINTER, _ENTRY = 8, 64  # bytes that a list and a dict take for each item, roughly
_MAX_AXES = 32


@dataclass(frozen=True)
class Inert:
    """Something that stood beside the tensors, by what it is called."""

    kind: str

    def __setstate__(self, _state: Any) -> None:
        """What more the file says of it is of no use here."""


class Dtype:
    """Stands for ``numpy.dtype``: a plain number type, or one whose values are not read (``value`` is None)."""

    def __init__(self, code: Any, *_flags: Any) -> None:
        code = code.lstrip("<>=|") if isinstance(code, str) else code
        if not isinstance(code, str) or (code not in _NUMBERS and not (code[:1] in _TEXTS and code[1:].isascii())):
            raise Refused(f"an array of dtype {quoted(code)}, which is not a plain number type")
        self.code = code
        self.value = np.dtype(code) if code in _NUMBERS else None

    def __setstate__(self, state: Any) -> None:
        if self.value is not None and isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.value = self.value.newbyteorder(state[1])


class Array:
    """Stands for ``numpy.ndarray`` until its state arrives; then ``value`` is the array."""

    value: Any = None

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise Refused("an array with a malformed state")
        _version, shape, dtype, fortran, raw = state
        self.value = decode(raw, dtype, shape, "F" if fortran else "C", self._budget)


def decode(raw: Any, dtype: Any, shape: Any, order: Any, budget: Budget) -> np.ndarray | Inert:
    """A writable native-endian copy [*shape] of ``raw``, any values, after checking that its length fits."""
    if isinstance(raw, str):  # a Python 2 byte string, read as latin-1
        budget.spend(len(raw))
        raw = raw.encode("latin-1")
    shape_ok = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape) and len(shape) <= _MAX_AXES
    if not (shape_ok and isinstance(dtype, Dtype) and isinstance(raw, bytes | bytearray) and order in ("C", "F")):
        raise Refused("an array with a malformed state")
    if dtype.value is None:
        return Inert(f"array of dtype {quoted(dtype.code)}")
    if len(raw) != math.prod(shape) * dtype.value.itemsize:
        raise Refused(f"an array whose {len(raw)} bytes of data do not fit its shape")
    budget.spend(len(raw))
    array = np.frombuffer(raw, dtype.value).reshape(shape, order=order)
    return array.astype(dtype.value.newbyteorder("="), copy=True)


class Function:
    """A function that a pickle may call but not alter."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, _state: Any) -> None:
        raise Refused("a state for a function")


class Marker:
    """A class that is only ever an argument, so it needs no behaviour; ``kind`` tells which."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __setstate__(self, _state: Any) -> None:
        raise Refused("a state for a class")


class Namespace:
    """Stands for objects that only hold attributes; ``attributes`` are what they hold."""

    attributes: Any = None  # a pickle can make one without calling __init__

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 2:  # attributes, and slots
            state = state[0]
        if not isinstance(state, dict | None):
            raise Refused("an object with a malformed state")
        self.attributes = state


class Dictionary(dict[Any, Any]):
    """Stands for ``OrderedDict``, ``defaultdict`` and ``Counter``; their attributes are not kept."""

    def __init__(self, *_arguments: Any) -> None:
        super().__init__()

    def __setstate__(self, _state: Any) -> None:
        """Torch's ``_metadata``, say: of no use here."""


def _pairs(budget: Budget, *arguments: Any) -> Dictionary:
    """A dict of the pairs in the last argument, if it is a container; a factory before them is not kept."""
    made = Dictionary()
    items = arguments[-1] if arguments and isinstance(arguments[-1], dict | list | tuple) else ()
    budget.spend(_ENTRY * len(items))
    for pair in dict.items(items) if isinstance(items, dict) else items:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Refused("a dict that is not made of pairs")
        if not small(pair[0]):
            raise Refused("keys that are large tuples")
        made[pair[0]] = pair[1]
    return made


def _collected(budget: Budget, kind: Callable[[Any], Any], items: Any = ()) -> Any:
    if not isinstance(items, dict | list | tuple | set | frozenset):
        raise Refused("a container made of something else")
    budget.spend(_POINTER * len(items))
    if kind in (set, frozenset) and not all(map(small, items)):
        raise Refused("keys that are large tuples")
    made = kind(items)
    return made if small(made) else list(items)  # which cannot be hashed, so that it is no key


def _encode(budget: Budget, text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused("a text codec other than latin-1")
    budget.spend(len(text))
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    return b""


def _paddles_eval(*arguments: Any) -> Any:
    """Old Paddle writes a tensor as ``eval("data", {"data": array})``: exactly that is read, and nothing evaluated."""
    if len(arguments) == 2 and arguments[0] == "data" and isinstance(arguments[1], dict):
        names = arguments[1]
        if list(names) == ["data"] and isinstance(names["data"], Array):
            return names["data"]
    raise Refused("the code builtins.eval")


def _same(value: Any, *_rest: Any) -> Any:
    return value


def _new(kind: Any, *_rest: Any) -> Any:
    """How protocols 0 and 1 make an object of a class that has no constructor of its own."""
    if kind is not Namespace:
        raise Refused("an object of a class that is not known here")
    return Namespace()


def _arrays(budget: Budget) -> Mapping[str, Any]:
    def reconstruct(kind: Any, _shape: Any, _typecode: Any) -> Array:
        if not isinstance(kind, Marker) or kind.kind != "ndarray":
            raise Refused("an array subclass")
        return Array(budget)

    def from_buffer(raw: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Array:
        """Protocol 5; ``order`` "K" with ``axes`` is how numpy 2.4 writes a transposed array."""
        array = Array(budget)
        turned = order == "K" and isinstance(axes, tuple)
        array.value = decode(raw, dtype, shape, "C" if turned else order, budget)
        if turned and isinstance(array.value, np.ndarray):
            array.value = array.value.transpose(axes)
        return array

    def scalar(dtype: Any, raw: Any = b"") -> Array:
        array = Array(budget)
        decoded = decode(raw, dtype, (), "C", budget)
        array.value = decoded if isinstance(decoded, Inert) else decoded[()]
        return array

    return {"_reconstruct": Function(reconstruct), "scalar": Function(scalar), "_frombuffer": Function(from_buffer)}


def admitted(budget: Budget) -> dict[tuple[str, str], Any]:
    """Every (module, name) that a checkpoint may refer to, and what of ours it gets."""

    def bound(function: Callable[..., Any], *first: Any) -> Function:
        return Function(lambda *arguments: function(budget, *first, *arguments))

    def inert(kind: str) -> Function:
        return Function(lambda *_arguments: Inert(kind))

    numpy = _arrays(budget)
    builtins = {
        "bytes": Function(_no_bytes),  # how protocol 2 writes none
        "eval": Function(_paddles_eval),
        "object": Marker("object"),
        "complex": inert("complex number"),
        **{kind.__name__: bound(_collected, kind) for kind in (tuple, list, set, frozenset)},
        **{name: Marker(name) for name in ("int", "float", "str", "bool")},  # a defaultdict's factory
        "dict": bound(_pairs),
    }
    paths = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")
    times = ("datetime", "date", "time", "timedelta", "timezone")
    return {
        ("numpy", "ndarray"): Marker("ndarray"),
        ("numpy", "dtype"): Dtype,
        ("_codecs", "encode"): bound(_encode),  # how protocol 2 writes bytes
        ("copy_reg", "_reconstructor"): Function(_new),
        ("copyreg", "_reconstructor"): Function(_new),
        ("argparse", "Namespace"): Namespace,
        ("types", "SimpleNamespace"): Namespace,
        ("collections", "OrderedDict"): bound(_pairs),
        ("collections", "defaultdict"): bound(_pairs),
        ("collections", "Counter"): bound(_pairs),
        ("paddle.framework.io_utils", "_reconstruct_dense_tensor_data"): Function(_same),
        **{(module, name): f for module in ("builtins", "__builtin__") for name, f in builtins.items()},
        **{(f"pathlib{module}", name): inert("path") for module in ("", "._local") for name in paths},
        **{("datetime", name): inert("time") for name in times},
        **{(f"numpy.{core}.multiarray", name): f for core in ("core", "_core") for name, f in numpy.items()},
        **{(f"numpy.{core}.numeric", "_frombuffer"): numpy["_frombuffer"] for core in ("core", "_core")},
    }
