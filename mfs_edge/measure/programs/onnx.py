"""ONNX: the few protobuf messages that a graph's costs are in (onnx/onnx.proto)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mfs_edge.base.errors import InputError
from mfs_edge.measure.programs import Program, Step, Value, reader

# TensorProto.DataType -> name, bits
_TYPES = {
    **{1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16), 6: ("int32", 32)},
    **{7: ("int64", 64), 8: ("string", 64), 9: ("bool", 8), 10: ("float16", 16), 11: ("float64", 64)},
    **{12: ("uint32", 32), 13: ("uint64", 64), 16: ("bfloat16", 16), 21: ("uint4", 4), 22: ("int4", 4)},
}
_VARINT, _LENGTH = 0, 2
_FIXED = {1: 8, 5: 4}


@dataclass
class _Node:
    kind: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, memoryview] = field(default_factory=dict)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """(field number, integer, bytes) of every field; one of the two is empty."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value, data[:0]
            continue
        if wire == _LENGTH:
            size, at = _varint(data, at)
        else:
            size = _FIXED[wire]
        if at + size > len(data):
            raise IndexError("it ends too early")
        yield number, 0, data[at : at + size]
        at += size


def _text(data: memoryview) -> str:
    return bytes(data).decode()


def _numbers(value: int, packed: memoryview) -> Iterator[int]:
    """A repeated integer, packed or not."""
    if not len(packed):
        yield value
    at = 0
    while at < len(packed):
        number, at = _varint(packed, at)
        yield number


def _constant(data: memoryview) -> tuple[str, Value]:
    """TensorProto: dims 1, data_type 2, name 8."""
    dims: list[int] = []
    kind, name = 0, ""
    for number, value, content in _fields(data):
        if number == 1:
            dims += _numbers(value, content)
        elif number == 2:
            kind = value
        elif number == 8:
            name = _text(content)
    dtype, bits = _TYPES.get(kind, (f"type {kind}", 32))
    return name, Value(tuple(dims), dtype, bits, constant=True)


def _value(data: memoryview) -> tuple[str, Value]:
    """ValueInfoProto: name 1, type 2 { tensor_type 1 { elem_type 1, shape 2 { dim 1 { dim_value 1 } } } }."""
    name, kind, dims = "", 0, None
    for number, _, content in _fields(data):
        if number == 1:
            name = _text(content)
        for part, _, tensor in _fields(content) if number == 2 else ():
            for slot, value, shape in _fields(tensor) if part == 1 else ():
                kind = value if slot == 1 else kind
                dims = [_dim(dim) for n, _, dim in _fields(shape) if n == 1] if slot == 2 else dims
    known = None if dims is None or None in dims else tuple(size for size in dims if size is not None)
    dtype, bits = _TYPES.get(kind, (f"type {kind}", 32))
    return name, Value(known, dtype, bits)


def _dim(data: memoryview) -> int | None:
    return next((value for number, value, _ in _fields(data) if number == 1), None)


def _node(data: memoryview) -> _Node:
    """NodeProto: input 1, output 2, op_type 4, attribute 5 { name 1 }, domain 7."""
    node = _Node()
    for number, _, content in _fields(data):
        if number == 1:
            node.inputs.append(_text(content))
        elif number == 2:
            node.outputs.append(_text(content))
        elif number == 4:
            node.kind = _text(content)
        elif number == 5:
            name = next(_text(text) for n, _, text in _fields(content) if n == 1)
            node.attributes[name] = content
        elif number == 7:
            node.domain = _text(content)
    return node


def _multiplies(node: _Node, values: dict[str, Value], weight: str | None) -> int:
    value = values.get(weight or "")
    if node.kind not in ("Conv", "Gemm", "MatMul") or value is None or not value.shape:
        return 0
    if node.kind == "Conv":
        return math.prod(value.shape[1:])  # [out, in / group, height, width]
    transposed = node.kind == "Gemm" and any(
        v for n, v, _ in _fields(node.attributes.get("transB", memoryview(b""))) if n == 3
    )
    return value.shape[1] if transposed else value.shape[-2] if len(value.shape) > 1 else value.shape[0]


@reader(".onnx")
def read(path: Path) -> Program:
    """GraphProto (ModelProto 7): node 1, initializer 5, input 11, output 12, value_info 13."""
    graph = next((content for n, _, content in _fields(memoryview(path.read_bytes())) if n == 7), None)
    if graph is None:
        raise InputError(f"{path}: is not an ONNX model (it has no graph); write or copy it again")
    nodes: list[_Node] = []
    values: dict[str, Value] = {}
    ends: dict[int, list[str]] = {11: [], 12: []}
    for number, _, content in _fields(graph):
        if number == 1:
            nodes.append(_node(content))
        elif number in (5, 11, 12, 13):
            name, value = _constant(content) if number == 5 else _value(content)
            if number == 5 or name not in values:  # old files list initialisers among the inputs
                values[name] = value
            ends.get(number, []).append(name)
    for node in nodes:
        if node.kind == "Constant":
            values[node.outputs[0]] = _held(node)
    stored = _behind(nodes, values)
    steps = tuple(_step(node, values, stored) for node in nodes if node.kind != "Constant")
    inputs = tuple(name for name in ends[11] if not values[name].constant)
    return Program(steps, values, inputs, tuple(ends[12]))


def _held(node: _Node) -> Value:
    """Of a Constant node: AttributeProto.t is field 5."""
    tensor = next((t for a in node.attributes.values() for n, _, t in _fields(a) if n == 5), None)
    return Value((), "scalar", 32, constant=True) if tensor is None else _constant(tensor)[1]


def _behind(nodes: list[_Node], values: dict[str, Value]) -> dict[str, str]:
    """Dequantised or cast weight -> the stored one."""
    found: dict[str, str] = {}
    for node in nodes:
        if node.kind in ("DequantizeLinear", "Cast") and node.inputs:
            source = found.get(node.inputs[0], node.inputs[0])
            if source in values and values[source].constant:
                found[node.outputs[0]] = source
    return found


def _step(node: _Node, values: dict[str, Value], stored: dict[str, str]) -> Step:
    for name in node.outputs:
        values.setdefault(name, Value(None, "unknown", 32))
    content = b"".join(bytes(node.attributes[name]) for name in sorted(node.attributes))
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    return Step(
        own=node.kind,
        kind=node.kind,
        inputs=tuple(node.inputs),
        outputs=tuple(node.outputs),
        attributes=f"{node.domain}:{hashlib.sha256(content).hexdigest()[:16]}",
        multiplies=_multiplies(node, values, stored.get(weight or "", weight)),
    )
