"""What an ``.mlpackage`` holds, from its own bytes: Core ML's protobuf messages, without coremltools.

``Model.proto``, ``FeatureTypes.proto`` and ``MIL.proto`` of coremltools number the fields; the
records of the weight file are those of its mlmodel/src/MILBlob/Blob/StorageFormat.hpp.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from mfs_edge.base import files
from mfs_edge.base.errors import InputError
from mfs_edge.base.protobuf import Message
from mfs_edge.program import IntegerTensor, Program, Step, Tensor, Value

SUFFIX = ".mlpackage"
MODEL = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")
MANIFEST = Path("Manifest.json")
WEIGHTS_SHA256 = "weights_sha256"
AGAIN = "compile it again"

_RECORD = struct.Struct("<IIQQ")  # magic, type, size, start
_MAGIC = 0xDEADBEEF
# DataType -> name, bits
_TYPES = {1: ("bool", 8), 2: ("string", 64), 10: ("float16", 16), 11: ("float32", 32), 12: ("float64", 64)}
_TYPES |= {21: ("int8", 8), 22: ("int16", 16), 23: ("int32", 32), 24: ("int64", 64), 31: ("uint8", 8)}
_ARRAY_TYPES = {65552: "float16", 65568: "float32", 65600: "double", 131080: "int8", 131104: "int32"}
_GREY = (10, 40)  # of ImageFeatureType.ColorSpace
KINDS = {
    **{"conv": "Conv", "leaky_relu": "LeakyRelu", "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "add": "Add"},
    **{"sub": "Sub", "mul": "Mul", "real_div": "Div", "pad": "Pad", "concat": "Concat", "cast": "Cast"},
    **{"upsample_bilinear": "Resize", "batch_norm": "BatchNormalization", "transpose": "Transpose"},
    **{"quantize": "QuantizeLinear", "dequantize": "DequantizeLinear"},
    **{"constexpr_affine_dequantize": "DequantizeLinear", "constexpr_cast": "Cast"},
    **{"max_pool": "MaxPool", "reduce_mean": "ReduceMean", "sqrt": "Sqrt", "reshape": "Reshape", "round": "Round"},
}
_STORED = "constexpr_affine_dequantize"
_STORED_IN = {_STORED: "quantized_data", "constexpr_cast": "source_val"}
# Arguments in ONNX's order; the others follow by name.
_ORDER = ("x", "input", "weight", "bias")


def read(path: Path) -> Program:
    """The ML Program in ``path``, after checking that all of the package is there.

    Raises:
        InputError: not a package, or a part is missing, truncated or changed.
    """
    if not path.is_dir():
        what = "is a file" if path.exists() else "no such folder"
        raise InputError(f"{path}: {what}; give the {SUFFIX} folder itself")
    check_manifest(path)
    try:
        model = Message(files.require_file(path / MODEL, "model in the package").read_bytes())
        return _Package(path, model).program()
    except (IndexError, KeyError, ValueError, TypeError, struct.error) as error:  # whatever damage looks like
        raise InputError(f"{path / MODEL}: is damaged ({type(error).__name__}: {error}); {AGAIN}") from error


def check_manifest(path: Path) -> None:
    """That the package's own list names the model that is read here.

    Raises:
        InputError: it is missing or damaged, or names another.
    """
    manifest = files.require_file(path / MANIFEST, "package's manifest")
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        root = content["itemInfoEntries"][content["rootModelIdentifier"]]["path"]
        if Path("Data") / root != MODEL:
            raise InputError(
                f"{manifest}: names {root} as the model, not {MODEL.name}; give a package that mfs-edge wrote"
            )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{manifest}: is damaged ({error!r}); {AGAIN}") from error


@dataclass
class _Package:
    """Model: specificationVersion 1, description 2, mlProgram 502."""

    path: Path
    model: Message
    values: dict[str, Value] = field(default_factory=dict)

    def program(self) -> Program:
        """Program: functions 2; Function: inputs 1, opset 2, blocks 3; Block: outputs 2, operations 3.

        Raises:
            InputError: it is of another kind, or its weights are not those it was written with.
        """
        if 502 not in self.model:
            raise InputError(f"{self.path}: holds no ML Program; mfs-edge writes and reads only those")
        function = self.model.message(502).mapping(2).get("main")
        if function is None:
            raise InputError(f"{self.path}: its ML Program has no function main; give a package that mfs-edge wrote")
        block = function.mapping(3)[function.text(2)]
        operations = block.messages(3)
        self._check_weights(operations)
        inputs = [self._declare(entry) for entry in function.messages(1)]
        steps = tuple(step for operation in operations if (step := self._step(operation)) is not None)
        description = self.model.message(2)
        entries = self._entries(description)
        return Program(
            format=f"Core ML ML Program, specification {self.model.number(1)}",
            steps=steps,
            values=self.values,
            inputs=tuple(inputs),
            outputs=tuple(block.texts(2)),
            takes=tuple(map(_edge, description.messages(1))),
            gives=tuple(map(_edge, description.messages(10))),
            metadata={**entries, "author": description.message(100).text(3)},
            details={"opset": function.text(2), "constants": sum(o.text(1) == "const" for o in operations)},
            quantised=lambda: list(self._integers(operations)),
        )

    def _entries(self, description: Message) -> dict[str, str]:
        """ModelDescription: metadata 100; Metadata: userDefined 100."""
        entries = {entry.text(1): entry.text(2) for entry in description.message(100).messages(100)}
        expected = entries.pop(WEIGHTS_SHA256, None)
        if expected is not None and hashlib.sha256(self.weights).hexdigest() != expected:
            raise InputError(f"{self.path / WEIGHTS}: is damaged, or belongs to another model; {AGAIN}")
        return entries

    @cached_property
    def weights(self) -> bytes:
        return files.require_file(self.path / WEIGHTS, "package's weights").read_bytes()

    def _check_weights(self, operations: list[Message]) -> None:
        """Every blob that the program names lies in the weight file."""
        for operation in operations:
            for value in operation.mapping(5).values():
                if 5 in value and self._blob(value) is None:
                    name = operation.messages(3)[0].text(1)
                    raise InputError(f"{self.path / WEIGHTS}: is truncated or damaged at {name}; {AGAIN}")

    def _blob(self, value: Message) -> memoryview | None:
        """Value.blobFileValue 5: offset 2 of its record; None if there is none."""
        at = value.message(5).number(2)
        if at + _RECORD.size > len(self.weights):
            return None
        magic, _, size, start = _RECORD.unpack_from(self.weights, at)
        whole = magic == _MAGIC and start + size <= len(self.weights)
        return memoryview(self.weights)[start : start + size] if whole else None

    def _declare(self, entry: Message, *, constant: bool = False) -> str:
        """NamedValueType: name 1, type 2."""
        self.values[entry.text(1)] = _value(entry.message(2), constant=constant)
        return entry.text(1)

    def _step(self, operation: Message) -> Step | None:
        """Operation: type 1, inputs 2, outputs 3, attributes 5; a constant is none."""
        own, attributes = operation.text(1), operation.mapping(5)
        outputs = tuple(self._declare(entry, constant=own == "const") for entry in operation.messages(3))
        if own == "const":
            return None
        inputs, told = self._arguments(operation)
        if own in _STORED_IN:  # its constant is an attribute
            inputs = [f"{outputs[0]}:stored"]
            self.values[inputs[0]] = _value(attributes[_STORED_IN[own]].message(2), constant=True)
        told += [f"{name}={bytes(value.data).hex()}" for name, value in sorted(attributes.items()) if 5 not in value]
        weight = self.values.get(inputs[1]) if own == "conv" and len(inputs) > 1 else None
        return Step(
            own=own,
            kind=KINDS.get(own, own),
            inputs=tuple(inputs),
            outputs=outputs,
            name=outputs[0] if outputs else "",
            attributes=hashlib.sha256(";".join(told).encode()).hexdigest()[:16],
            multiplies=math.prod(weight.known[1:]) if weight is not None else 0,
        )

    def _arguments(self, operation: Message) -> tuple[list[str], list[str]]:
        """Names of values, and whatever is given outright; Argument: arguments 1; Binding: name 1, value 2."""
        given = operation.mapping(2)
        names, told = [], []
        for key in sorted(given, key=lambda key: (_ORDER.index(key) if key in _ORDER else len(_ORDER), key)):
            for binding in given[key].messages(1):
                name = binding.text(1)
                constant = name in self.values and self.values[name].constant
                if 2 in binding or (constant and key not in (*_ORDER, "y")):
                    told.append(f"{key}={name or bytes(binding.raw(2)).hex()}")
                else:
                    names.append(name)
        return names, told

    def _integers(self, operations: list[Message]) -> Iterator[IntegerTensor]:
        """Every ``quantize``, and every int8 constant, in the program's order."""
        constants = {o.messages(3)[0].text(1): o.mapping(5)["val"] for o in operations if o.text(1) == "const"}
        for operation in operations:
            name, kind = operation.messages(3)[0].text(1), operation.text(1)
            if kind == "quantize":
                given = operation.mapping(2)
                scale, point = (
                    self._array(constants[given[key].messages(1)[0].text(1)]) for key in ("scale", "zero_point")
                )
                yield IntegerTensor.activation(name.removesuffix("_quantised"), "int8", float(scale), int(point))
            elif kind == _STORED:
                held = operation.mapping(5)
                scales = self._array(held["scale"]).astype(np.float64)
                yield IntegerTensor.constant(name, self._array(held["quantized_data"]), scales)

    def _array(self, value: Message) -> np.ndarray:
        """Value: type 2, immediateValue 3 (tensor 1), blobFileValue 5; TensorValue: floats 1, ints 2, bytes 7."""
        kind = _value(value.message(2))
        if 5 in value:
            content = self._blob(value)
            return np.frombuffer(content if content is not None else b"", kind.dtype).reshape(kind.known)
        tensor = value.message(3).message(1)
        if 7 in tensor:  # 8-bit and half precision, for want of a field of their own
            return np.frombuffer(tensor.message(7).raw(1), kind.dtype).reshape(kind.known)
        if 1 in tensor:
            return np.frombuffer(tensor.message(1).raw(1), np.float32).astype(kind.dtype).reshape(kind.known)
        return np.array(tensor.message(2).numbers(1), np.uint64).astype(kind.dtype).reshape(kind.known)


def _value(kind: Message, *, constant: bool = False) -> Value:
    """ValueType: tensorType 1; TensorType: dataType 1, dimensions 3; Dimension: constant 1 (size 1)."""
    tensor = kind.message(1)
    dtype, bits = _TYPES.get(tensor.number(1), (f"type {tensor.number(1)}", 32))
    dims = tensor.messages(3)
    shape = tuple(dim.message(1).number(1) for dim in dims) if all(1 in dim for dim in dims) else None
    return Value(shape, dtype, bits, constant)


def _edge(feature: Message) -> Tensor:
    """FeatureDescription: name 1, type 3; FeatureType: imageType 4 (width 1, height 2, colorSpace 3), multiArrayType 5.

    An image is bytes, interleaved, in a pixel buffer; a multi-array (shape 1, dataType 2) is NCHW.
    """
    name, kind = feature.text(1), feature.message(3)
    if 4 in kind:
        image = kind.message(4)
        shape = (1, image.number(2), image.number(1), 1 if image.number(3) in _GREY else 3)
        return Tensor(name, "uint8", shape, layout="NHWC", range="0..255")
    array = kind.message(5)
    dtype = _ARRAY_TYPES.get(array.number(2), f"type {array.number(2)}")
    return Tensor(name, dtype, tuple(array.numbers(1)), layout="NCHW", range="0..1")
