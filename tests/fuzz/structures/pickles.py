"""Pickles: programs of other instructions, and sound pickles of odd objects."""

from __future__ import annotations

import collections
import pickle
import pickletools
import struct
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.fuzz.structures import texts

_CODE = [
    ("os", "system"),
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("numpy", "load"),
    ("subprocess", "Popen"),
    ("torch", "load"),
]
_CODE += [
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
]
_CODE += [
    ("numpy._core.numeric", "_frombuffer"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("builtins", "tuple"),
]
_CODE += [
    ("_codecs", "encode"),
    ("builtins", "bytes"),
    ("builtins", "complex"),
    ("argparse", "Namespace"),
    ("builtins", "bytearray"),
]
_CODE += [
    ("paddle.framework.io_utils", "_reconstruct_dense_tensor_data"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("x" * 300, "\x1b[31m"),
]
_SIMPLE = b"()]}.0l2taseubRbocqi1\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94N"
_LENGTHS = {
    b"\x8d": "<Q",
    b"\x8e": "<Q",
    b"B": "<I",
    b"X": "<I",
    b"T": "<I",
    b"\x8b": "<i",
    b"\x96": "<Q",
    b"\x95": "<Q",
    b"r": "<I",
    b"j": "<I",
}
_NUMBERS = [0, 1, 255, 2**16, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1]


def as_pickle(data: bytes) -> st.SearchStrategy[bytes]:
    """Instructions of ``data`` dropped, repeated, swapped and added to."""
    try:
        places = [position for _, _, position in pickletools.genops(data)]
    except (ValueError, IndexError, UnicodeDecodeError):
        return st.just(data)
    spans = [data[start:end] for start, end in zip(places, [*places[1:], len(data)], strict=True)]

    @st.composite
    def edited(draw: st.DrawFn) -> bytes:
        found = list(spans)
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, max(0, len(found) - 1)))
            what = draw(st.sampled_from(["add", "add", "drop", "twice", "move"]))
            if what == "add":
                found.insert(at, draw(_instruction()))
            elif what == "drop":
                del found[at : at + draw(st.integers(1, 3))]
            elif what == "twice":
                found[at:at] = found[at : at + draw(st.integers(1, 3))] * draw(st.sampled_from([1, 2, 40]))
            else:
                found.insert(draw(st.integers(0, len(found))), found[at] if found else b"N")
        return b"".join(found)

    return st.one_of(edited(), edited(), edited(), odd_objects(), st.sampled_from(_nested()))


def _instruction() -> st.SearchStrategy[bytes]:
    simple = st.sampled_from([bytes([code]) for code in _SIMPLE])
    code = st.sampled_from(_CODE).map(lambda name: f"c{name[0]}\n{name[1]}\n".encode())
    called = st.tuples(code, texts.LEAVES).map(lambda d: d[0] + _pushed(d[1]) + b"\x85R")
    long = st.tuples(st.sampled_from(sorted(_LENGTHS)), st.sampled_from(_NUMBERS)).map(lambda d: _sized(*d))
    number = st.sampled_from(_NUMBERS).map(lambda n: f"I{n}\n".encode())
    digits = st.just(b"L" + b"9" * 5000 + b"L\n")
    return st.one_of(simple, simple, code, called, long, number, digits)


def _sized(code: bytes, number: int) -> bytes:
    """An instruction that says a length without giving so much."""
    width = _LENGTHS[code]
    return code + struct.pack(width.upper(), number % 2 ** (8 * struct.calcsize(width)))


def _pushed(value: Any) -> bytes:
    """What puts ``value`` on the stack: its pickle without protocol, frame and end."""
    return pickle.dumps(value, 2)[2:-1]


def odd_objects() -> st.SearchStrategy[bytes]:
    """Sound pickles of what lies in checkpoints beside tensors, or in their place."""
    arrays = st.tuples(
        st.sampled_from(["f2", "f4", "f8", ">f4", "i8", "u2", "?", "S3", "U3", "c8", "M8[s]", "O"]),
        st.sampled_from([(), (0,), (1,), (3, 2), (0, 2**40), (32, 3, 1, 1)]),
        st.sampled_from("CF"),
    ).map(lambda d: np.zeros(d[1], d[0], d[2]))
    scalars = st.sampled_from(
        [np.float64(1), np.int64(3), np.bool_(True), np.float16(2), 1j, {1}, frozenset([2]), bytearray(b"x"), range(3)]
    )
    keys = st.sampled_from(
        [
            "state_dict",
            "model",
            "ema",
            "final.1.weight",
            "mask.0.1.bias",
            "netG",
            "netArc",
            "StructuredToParameterName@@",
        ]
    )
    keys |= st.text(max_size=6) | st.sampled_from([3, 2.5, None, (1, 2), b"x"])
    leaves = st.one_of(arrays, scalars, texts.LEAVES)
    objects = st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.tuples(st.text(max_size=3), inner),
            st.dictionaries(keys, inner, max_size=4),
            st.dictionaries(keys, inner, max_size=4).map(collections.OrderedDict),
            st.dictionaries(keys, inner, max_size=2).map(lambda held: collections.defaultdict(list, held)),
        ),
        max_leaves=8,
    )
    return st.tuples(st.dictionaries(keys, objects, max_size=5), st.integers(0, 5)).map(lambda d: pickle.dumps(*d))


def _nested() -> list[bytes]:
    """Few bytes that are much: nesting, lists shared at every level, a list that holds itself, many keys."""
    shared: list[Any] = ["x"]
    for _ in range(40):
        shared = [shared] * 4
    itself: list[Any] = []
    itself.append(itself)
    circle: dict[str, Any] = {}
    circle["model"] = circle
    deep = [
        b"\x80\x04" + code * count + b"." for code in (b"]", b"(", b"}", b"](", b")\x85") for count in (1000, 100_000)
    ]
    repeated = b"\x80\x04]" + b"\x94(" + b"h\0" * 200_000 + b"e."
    return [pickle.dumps(shared), pickle.dumps(itself), pickle.dumps({"model": circle}), *deep, repeated]
