"""The bytes of a ``.tflite`` in, checked tables out.

Interpreters trust their input: an offset that points outside the file ends the process. So
every offset, length and string is checked here first, in plain Python that needs neither a
schema nor a runtime, as a device with ``tflite_runtime`` alone has none. The rules are those
of the FlatBuffers verifier (flatbuffers internals, "Encoding").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from .flatbuffer import IDENTIFIER, Quantisation

# TensorType -> numpy, and the bits of those that numpy has not.
DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}
DTYPES |= {5: "string", 10: "float64", 12: "uint64", 15: "uint32", 16: "uint16"}
DTYPES |= {17: "int4", 18: "bfloat16", 19: "int2", 20: "uint4", 21: "float8e4m3fn", 22: "float8e5m2"}
NOT_IN_NUMPY = {"string": 64, "int4": 4, "uint4": 4, "int2": 2, "bfloat16": 16, "float8e4m3fn": 8, "float8e5m2": 8}
_BLOCKWISE = 2  # of QuantizationDetails


Picked = TypeVar("Picked")


class Damaged(Exception):
    """The bytes are not a sound TFLite model; the text says where."""


class Table:
    """A FlatBuffers table whose every access is checked."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position
        vtable = position - _read(data, "<i", position)
        size = _read(data, "<H", vtable)
        self.extent = _read(data, "<H", vtable + 2)
        if size < 4 or size % 2 or vtable + size > len(data) or position + self.extent > len(data):
            raise Damaged(f"the table at byte {position} does not fit the file")
        self.fields = struct.unpack_from(f"<{size // 2 - 2}H", data, vtable + 4)

    def content(self) -> bytes:
        """Its own bytes with the layout, but without what they point to."""
        return (
            struct.pack(f"<{len(self.fields)}H", *self.fields)
            + self.data[self.position + 4 : self.position + self.extent]
        )

    def _at(self, slot: int, width: int) -> int | None:
        offset = self.fields[slot] if slot < len(self.fields) else 0
        if offset == 0:
            return None
        if offset + width > self.extent:
            raise Damaged(f"a field of the table at byte {self.position} lies outside it")
        return self.position + offset

    def number(self, slot: int, kind: str, default: int = 0) -> Any:
        """A scalar; ``kind`` is struct's letter."""
        at = self._at(slot, struct.calcsize(kind))
        return default if at is None else _read(self.data, f"<{kind}", at)

    def present(self, slot: int) -> bool:
        return slot < len(self.fields) and self.fields[slot] != 0

    def _target(self, slot: int) -> int | None:
        at = self._at(slot, 4)
        return None if at is None else at + int(_read(self.data, "<I", at))

    def table(self, slot: int) -> Table | None:
        at = self._target(slot)
        return None if at is None else Table(self.data, at)

    def tables(self, slot: int) -> list[Table]:
        start, count = self._vector(slot, 4)
        return [Table(self.data, at + int(_read(self.data, "<I", at))) for at in range(start, start + 4 * count, 4)]

    def numbers(self, slot: int, dtype: str) -> np.ndarray:
        """A vector of scalars, [N]; empty where there is none."""
        kind = np.dtype(dtype).newbyteorder("<")
        start, count = self._vector(slot, kind.itemsize)
        if start % kind.itemsize:
            raise Damaged(f"the vector at byte {start} is not aligned")
        return np.frombuffer(self.data, kind, count, start)

    def raw(self, slot: int) -> tuple[int, int]:
        """Where a vector of bytes starts, and its length."""
        return self._vector(slot, 1)

    def text(self, slot: int) -> str:
        start, count = self._vector(slot, 1)
        if start and (start + count >= len(self.data) or self.data[start + count]):
            raise Damaged(f"the string at byte {start} does not end")
        try:
            return self.data[start : start + count].decode()
        except UnicodeDecodeError as error:
            raise Damaged(f"the string at byte {start} is not UTF-8") from error

    def _vector(self, slot: int, width: int) -> tuple[int, int]:
        at = self._target(slot)
        if at is None:
            return 0, 0
        count = int(_read(self.data, "<I", at))
        if at + 4 + count * width > len(self.data):
            raise Damaged(f"the vector at byte {at} runs past the end of the file")
        return at + 4, count


def _read(data: bytes, kind: str, position: int) -> Any:
    if not 0 <= position <= len(data) - struct.calcsize(kind):
        raise Damaged(f"byte {position} is referred to, but the file has {len(data)}")
    return struct.unpack_from(kind, data, position)[0]


@dataclass(frozen=True)
class TensorEntry:
    """One tensor; ``content`` is where its bytes lie, none for a computed one."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    content: tuple[int, int]
    quantisation: Quantisation | None

    @property
    def is_constant(self) -> bool:
        return self.content[1] > 0


@dataclass(frozen=True)
class Operator:
    """One operator: builtin code, version, tensor indices (-1: none) and its options table."""

    code: int
    custom: str  # its name, if it is none of TFLite's own
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options_type: int
    options: Table | None


@dataclass(frozen=True)
class Model:
    """What a file holds. Offsets are sound; whether it makes sense is ``validate``'s question.

    Attributes:
        foreign: what no file of ours has, in words; the rest of it may still be counted.
    """

    version: int
    description: str
    tensors: tuple[TensorEntry, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    metadata: dict[str, tuple[int, int]]
    signatures: dict[str, tuple[dict[str, int], dict[str, int]]]
    foreign: tuple[str, ...] = ()


def read(data: bytes) -> Model:
    """Parse a file.

    Raises:
        Damaged: it is not a TFLite model, or an offset in it is wrong.
    """
    if data[4:8] != IDENTIFIER:
        raise Damaged("it does not carry TFLite's mark")
    root = Table(data, int(_read(data, "<I", 0)))
    graphs = root.tables(2)
    if not graphs:
        raise Damaged("it holds no subgraph")
    buffers = [_content(table) for table in root.tables(4)]
    codes = [_code(table) for table in root.tables(1)]
    return Model(
        foreign=tuple(_foreign(root, graphs)),
        version=root.number(0, "I"),
        description=root.text(3),
        tensors=tuple(_tensor(table, buffers) for table in graphs[0].tables(0)),
        operators=tuple(_operator(table, codes) for table in graphs[0].tables(3)),
        inputs=_indices(graphs[0], 1),
        outputs=_indices(graphs[0], 2),
        metadata={table.text(0): _pick(buffers, table.number(1, "I"), "buffer") for table in root.tables(6)},
        signatures={table.text(2): (_names(table, 0), _names(table, 1)) for table in root.tables(7)},
    )


def _foreign(root: Table, graphs: list[Table]) -> Iterator[str]:
    if len(graphs) != 1:
        yield f"it holds {len(graphs)} subgraphs where mfs-edge writes 1"
    if root.present(8) or root.present(9):
        yield "its weights lie in other files"
    if any(table.number(1, "Q") or table.number(2, "Q") for table in root.tables(4)):
        yield "a buffer lies behind the model"
    for table in root.tables(1):
        if table.present(1):
            yield f"it needs the custom operator {table.text(1)!r}"
    for table in graphs[0].tables(0):
        kind, quantised = table.number(1, "b"), table.table(4)
        unread = table.present(6) or table.present(9) or table.number(10, "I") or (quantised and quantised.present(5))
        if unread or DTYPES.get(kind, "string") in NOT_IN_NUMPY:
            yield f"tensor {table.text(3)!r} is of a kind that mfs-edge does not write"
    if any(table.number(9, "Q") or table.number(11, "B") for table in graphs[0].tables(3)):
        yield "an operator has options that mfs-edge does not write"


def _content(table: Table) -> tuple[int, int]:
    """Where its bytes lie; behind the model, for files beyond 2 GB."""
    offset = table.number(1, "Q")
    return (offset, table.number(2, "Q")) if offset > 1 else table.raw(0)


def _code(table: Table) -> tuple[int, int, str]:
    return max(table.number(0, "b"), table.number(3, "i")), table.number(2, "i", 1), table.text(1)


def _tensor(table: Table, buffers: list[tuple[int, int]]) -> TensorEntry:
    name, kind = table.text(3), table.number(1, "b")
    return TensorEntry(
        name=name,
        dtype=DTYPES.get(kind, f"type {kind}"),
        shape=tuple(int(dim) for dim in table.numbers(0, "int32")),
        content=_pick(buffers, table.number(2, "I"), "buffer"),
        quantisation=_quantisation(table.table(4)),
    )


def _quantisation(table: Table | None) -> Quantisation | None:
    if table is None:
        return None
    scale, zero = table.numbers(2, "float32"), table.numbers(3, "int64")
    blocks = table.number(4, "B") == _BLOCKWISE  # whose scales are another tensor: none are read here
    return Quantisation(scale, zero, table.number(6, "i")) if scale.size or blocks else None


def _operator(table: Table, codes: list[tuple[int, int, str]]) -> Operator:
    table.raw(5), table.raw(7), table.numbers(8, "int32")  # unused here, but an interpreter follows them
    code, version, custom = _pick(codes, table.number(0, "I"), "operator code")
    return Operator(code, custom, version, _indices(table, 1), _indices(table, 2), table.number(3, "B"), table.table(4))


def _indices(table: Table, slot: int) -> tuple[int, ...]:
    return tuple(int(index) for index in table.numbers(slot, "int32"))


def _names(table: Table, slot: int) -> dict[str, int]:
    if table.number(4, "I"):
        raise Damaged("a signature is of a subgraph that is not there")
    return {entry.text(0): entry.number(1, "I") for entry in table.tables(slot)}


def _pick(items: list[Picked], index: int, what: str) -> Picked:
    if index >= len(items):
        raise Damaged(f"{what} {index} is referred to, but there are {len(items)}")
    return items[index]
