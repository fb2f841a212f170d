"""What an ``.onnx`` file holds, from its protobuf messages alone (onnx/onnx.proto).

Weights are not read, only their shapes; the quantised ones when they are asked for.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mfs_edge.base import bits, files
from mfs_edge.base.errors import InputError
from mfs_edge.base.protobuf import Message
from mfs_edge.program import IntegerTensor, Program, Step, Tensor, Value

from . import external

# TensorProto.DataType -> name, bits
_TYPES = {
    **{1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16), 6: ("int32", 32)},
    **{7: ("int64", 64), 8: ("string", 64), 9: ("bool", 8), 10: ("float16", 16), 11: ("float64", 64)},
    **{12: ("uint32", 32), 13: ("uint64", 64), 16: ("bfloat16", 16), 21: ("uint4", 4), 22: ("int4", 4)},
    **{14: ("complex64", 64), 15: ("complex128", 128), 17: ("float8e4m3fn", 8), 18: ("float8e4m3fnuz", 8)},
    **{19: ("float8e5m2", 8), 20: ("float8e5m2fnuz", 8), 23: ("float4e2m1", 4), 24: ("float8e8m0", 8)},
    **{25: ("uint2", 2), 26: ("int2", 2)},
}
_RAW, _FLOATS, _DOUBLES = 9, 4, 10  # of TensorProto: where its values are, as bytes
_NUMBERS = (5, 7, 11)  # or as integers: int32_data, int64_data, uint64_data
_WIDENING = ("DequantizeLinear", "Cast")


def read(path: Path) -> Program:
    """The graph in ``path``.

    Raises:
        InputError: the file is damaged, or no ONNX model.
    """
    files.require_file(path, "artefact")
    try:
        model = Message(path.read_bytes())
        if 7 not in model:
            raise InputError(f"{path}: is not an ONNX model (it has no graph); write or copy it again")
        return _Graph(model.message(7), path).program(model)
    except (IndexError, KeyError, ValueError, StopIteration) as error:  # whatever damage looks like
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: is not a readable ONNX model, or damaged ({reason}); write it again") from error


@dataclass
class _Graph:
    """GraphProto: node 1, initializer 5, input 11, output 12, value_info 13."""

    message: Message
    path: Path
    stored: dict[str, Message] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)  # of a DequantizeLinear's output: the axis of its scales

    def program(self, model: Message) -> Program:
        """ModelProto: graph 7, opset_import 8 (domain 1, version 2), metadata_props 14 (key 1, value 2)."""
        nodes = self.message.messages(1)
        self._collect(nodes)
        steps = tuple(self._step(node) for node in nodes if node.text(4) != "Constant")
        given = [entry for entry in self.message.messages(11) if not self.values[entry.text(1)].constant]
        made = self.message.messages(12)
        opset = next((entry.number(2) for entry in model.messages(8) if not entry.text(1)), 1)
        return Program(
            format=f"ONNX, opset {opset}",
            steps=steps,
            values=self.values,
            inputs=tuple(entry.text(1) for entry in given),
            outputs=tuple(entry.text(1) for entry in made),
            takes=tuple(map(self._edge, given)),
            gives=tuple(map(self._edge, made)),
            metadata={entry.text(1): entry.text(2) for entry in model.messages(14)},
            quantised=lambda: list(self._quantised(steps)),
        )

    def _collect(self, nodes: list[Message]) -> None:
        """Every value; old files list initialisers among the inputs, too."""
        for tensor in self.message.messages(5):
            self._store(tensor.text(8), tensor)
        for node in nodes:
            if node.text(4) == "Constant":  # AttributeProto.t is 5
                tensors = [attribute.message(5) for attribute in node.messages(5) if 5 in attribute]
                self._store(node.texts(2)[0], tensors[0] if tensors else Message())
        for entry in (e for number in (11, 12, 13) for e in self.message.messages(number)):
            self.values.setdefault(entry.text(1), _value(entry))

    def _store(self, name: str, tensor: Message) -> None:
        """TensorProto: dims 1, data_type 2."""
        self.stored[name] = tensor
        dtype, bits = _TYPES.get(tensor.number(2), (f"type {tensor.number(2)}", 32))
        self.values[name] = Value(tuple(tensor.numbers(1)), dtype, bits, constant=True)

    def _step(self, node: Message) -> Step:
        """NodeProto: input 1, output 2, name 3, op_type 4, attribute 5, domain 7."""
        kind, inputs, outputs = node.text(4), tuple(node.texts(1)), tuple(node.texts(2))
        for name in filter(None, outputs):
            self.values.setdefault(name, Value(None, "unknown", 32))
        if kind in _WIDENING and inputs and outputs and inputs[0] in self.stored:
            self.stored[outputs[0]] = self.stored[inputs[0]]
        attributes = {attribute.text(1): attribute for attribute in node.messages(5)}
        if "axis" in attributes and outputs:
            self.axes[outputs[0]] = attributes["axis"].number(3) - (
                2**64 if attributes["axis"].number(3) >= 2**63 else 0
            )
        content = b"".join(bytes(attributes[name].data) for name in sorted(attributes))
        return Step(
            own=kind,
            kind=kind,
            inputs=inputs,
            outputs=outputs,
            name=node.text(3),
            attributes=f"{node.text(7)}:{hashlib.sha256(content).hexdigest()[:16]}",
            multiplies=self._multiplies(kind, inputs, attributes),
        )

    def _multiplies(self, kind: str, inputs: tuple[str, ...], attributes: dict[str, Message]) -> int:
        tensor = self.stored.get(inputs[1]) if len(inputs) > 1 else None
        shape = tensor.numbers(1) if tensor is not None else []
        if kind not in ("Conv", "Gemm", "MatMul") or not shape:
            return 0
        if kind == "Conv":
            return math.prod(shape[1:])  # [out, in / group, height, width]
        transposed = kind == "Gemm" and "transB" in attributes and attributes["transB"].number(3) != 0
        return shape[1] if transposed else shape[-2] if len(shape) > 1 else shape[0]

    def _edge(self, entry: Message) -> Tensor:
        value = self.values[entry.text(1)]
        as_bytes = value.dtype == "uint8"
        layout, reach = ("NHWC", "0..255") if as_bytes else ("NCHW", "0..1")
        return Tensor(entry.text(1), value.dtype, value.shape or (), layout=layout, range=reach)

    def _quantised(self, steps: tuple[Step, ...]) -> Iterator[IntegerTensor]:
        for step in steps:
            if step.own != "DequantizeLinear" or step.inputs[1] not in self.values:
                continue
            if not all(name == "" or self.values[name].constant for name in step.inputs[1:]):
                continue  # quantised anew with every picture: the file holds no scale of it
            try:
                yield self._integers(step)
            except bits.Unread as error:
                raise InputError(
                    f"{self.path}: {step.outputs[0]} is made of {error}, whose values are not read; "
                    "inspect it without --quant"
                ) from error

    def _integers(self, step: Step) -> IntegerTensor:
        name = (step.name or step.outputs[0]).removesuffix(".restored")
        scale, stored = self._array(step.inputs[1]), self.values[step.inputs[0]]
        zero = self._array(step.inputs[2]) if len(step.inputs) > 2 and step.inputs[2] else np.zeros((), np.int8)
        if stored.constant:
            codes, axis = self._array(step.inputs[0]), self.axes.get(step.outputs[0], 1)
            return IntegerTensor.constant(name, codes, scale, zero, axis=axis, dtype=stored.dtype)
        dtype = self.values[step.inputs[2]].dtype if len(step.inputs) > 2 and step.inputs[2] else "int8"
        return IntegerTensor.activation(name, dtype, float(scale.ravel()[0]), int(zero.ravel()[0]))

    def _array(self, name: str) -> np.ndarray:
        """A stored tensor's values; raises bits.Unread."""
        value = self.values[name]
        shape = value.shape or ()
        return bits.decode(
            self._bytes(self.stored[name], value, math.prod(shape)), value.dtype, math.prod(shape)
        ).reshape(shape)

    def _bytes(self, tensor: Message, kind: Value, count: int) -> bytes | memoryview:
        """They are raw, in a file beside the model, or numbers that protobuf has widened."""
        size = bits.size(count, kind.dtype)
        if (kept := external.location(tensor)) is not None:
            return self._external(tensor, kept, size)
        for number in (_RAW, _FLOATS, _DOUBLES):
            if number in tensor:
                return tensor.raw(number)
        numbers = [value for number in _NUMBERS for value in tensor.numbers(number)]
        width = max(1, kind.bits // 8)
        return np.array(numbers, np.uint64).astype(f"<u{width}").tobytes()

    def _external(self, tensor: Message, name: str, size: int) -> bytes:
        """The bytes of a tensor in the file ``name`` beside the model; ``size`` where it does not say how many."""
        said = external.entries(tensor)
        with files.confined(self.path.parent, name, source=self.path).open("rb") as file:
            file.seek(int(said.get("offset", 0)))
            return file.read(int(said.get("length", size)))


def _value(entry: Message) -> Value:
    """ValueInfoProto: name 1, type 2; TypeProto: tensor_type 1 (elem_type 1, shape 2); its dim 1: dim_value 1."""
    kind = entry.message(2).message(1)
    dtype, bits = _TYPES.get(kind.number(1), (f"type {kind.number(1)}", 32))
    dims = kind.message(2).messages(1)
    fixed = 2 in kind and all(1 in dim and dim.number(1) < 2**63 for dim in dims)  # some write -1 for "any"
    return Value(tuple(dim.number(1) for dim in dims) if fixed else None, dtype, bits)
