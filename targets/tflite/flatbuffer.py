"""Tensors and operators in, the bytes of a ``.tflite`` out.

Built through the official schema that ships in ``ai_edge_litert``. The bytes are a function
of what was put in: no time, no path, no hash order. A digest of the whole file is kept in
its metadata, so that a damaged file is told from a sound one before an interpreter sees it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
SIGNATURE = "serving_default"
DIGEST = "mfs_edge.content_sha256"
DIGEST_BYTES = 64  # of hex
MIN_RUNTIME = "min_runtime_version"
# TFLite: "kDefaultTensorAlignment"; XNNPACK reads constants in place.
ALIGNMENT = 16

_TYPES = {"float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32", "int8": "INT8", "uint8": "UINT8"}
# op_version.cc of LiteRT: the version that brought a signature. Lower versions are accepted by
# older runtimes, so each operator carries the lowest that knows its types.
_INT8_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "LEAKY_RELU": 1, "QUANTIZE": 1, "RESHAPE": 1}


@dataclass(frozen=True)
class Quantisation:
    """real = scale * (integer - zero_point), per tensor or along ``axis``.

    Attributes:
        scale: float32 [1] or [C], positive.
        zero_point: int64, same length.
        axis: the dimension that the scales run along, in the tensor's own (NHWC) layout.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int = 0

    @classmethod
    def per_tensor(cls, scale: float, zero_point: int) -> Quantisation:
        return cls(np.array([scale], np.float32), np.array([zero_point], np.int64))

    def along(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """Scale and zero point, to broadcast against a tensor of this rank: [1, C, 1] of a ``rank`` of 3, say."""
        shape = [-1 if axis == self.axis else 1 for axis in range(rank)] if self.scale.size > 1 else [1] * rank
        return self.scale.reshape(shape), self.zero_point.reshape(shape)

    def steps(self, real: float) -> int:
        """``real`` in steps of the (first) scale, rounded in float32 as runtimes do."""
        return int(np.rint(np.float32(real) / self.scale[0]))

    def same(self, other: Quantisation) -> bool:
        return np.array_equal(self.scale, other.scale) and np.array_equal(self.zero_point, other.zero_point)


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of the file; a constant when ``buffer`` is not 0."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    buffer: int = 0
    quantisation: Quantisation | None = None


@dataclass(frozen=True)
class OperatorSpec:
    """One operator: TFLite's name, tensor indices, its options table and version."""

    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: tuple[str, Mapping[str, Any]] | None
    version: int


@dataclass
class Builder:
    """A TFLite program under construction; indices are handed out in order."""

    tensors: list[TensorSpec] = field(default_factory=list)
    operators: list[OperatorSpec] = field(default_factory=list)
    buffers: list[bytes] = field(default_factory=lambda: [b""])  # buffer 0 is empty by convention
    _known: dict[bytes, int] = field(default_factory=dict)

    def tensor(self, name: str, dtype: str, shape: Sequence[int], *, quantisation: Quantisation | None = None) -> int:
        """A tensor that an operator will write, or an input."""
        self.tensors.append(TensorSpec(name, dtype, tuple(shape), quantisation=quantisation))
        return len(self.tensors) - 1

    def constant(self, name: str, value: np.ndarray, *, quantisation: Quantisation | None = None) -> int:
        """A tensor with ``value``, of any shape and type, in the file; equal contents share one buffer."""
        content = np.ascontiguousarray(value).tobytes()
        buffer = self._known.get(content)
        if buffer is None:
            buffer = self._known[content] = self.buffer(content)
        self.tensors.append(TensorSpec(name, value.dtype.name, value.shape, buffer, quantisation))
        return len(self.tensors) - 1

    def buffer(self, content: bytes) -> int:
        self.buffers.append(content)
        return len(self.buffers) - 1

    def operator(
        self, code: str, inputs: Sequence[int], outputs: Sequence[int], options: str | None = None, **fields: Any
    ) -> None:
        """Append operator ``code`` (``CONV_2D``); ``options`` names its table without ``Options``."""
        table = None if options is None else (f"{options}Options", fields)
        version = self._version(code, inputs, outputs)
        self.operators.append(OperatorSpec(code, tuple(inputs), tuple(outputs), table, version))

    def _version(self, code: str, inputs: Sequence[int], outputs: Sequence[int]) -> int:
        first = self.tensors[inputs[0]]
        if code == "DEQUANTIZE" and first.dtype == "float16":
            return 3
        if first.dtype != "int8":
            return 1
        return 3 if code == "MUL" and self._amplifies(inputs, outputs) else _INT8_VERSIONS.get(code, 2)

    def _amplifies(self, inputs: Sequence[int], outputs: Sequence[int]) -> bool:
        a, b, out = (self.tensors[i].quantisation for i in (*inputs, *outputs))
        return a is not None and b is not None and out is not None and bool(a.scale * b.scale >= out.scale)


def serialise(
    builder: Builder,
    *,
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    description: str,
    metadata: Mapping[str, str],
) -> bytes:
    """The file's bytes.

    Args:
        builder: what it computes.
        inputs, outputs: tensor index by name in the signature ``serving_default``.
        description: the model's description.
        metadata: entries, UTF-8; the digest and the runtime needed are added.
    """
    import flatbuffers  # type: ignore[import-untyped]

    entries = {**metadata, MIN_RUNTIME: _oldest_runtime(builder), DIGEST: "0" * DIGEST_BYTES}
    builder = replace(builder, buffers=list(builder.buffers))  # the caller's stays as it is
    located = {name: builder.buffer(text.encode()) for name, text in entries.items()}
    capacity = sum(len(content) + 2 * ALIGNMENT for content in builder.buffers) + 1024 * (len(builder.tensors) + 16)
    packer = flatbuffers.Builder(capacity)
    packer.Finish(_model(builder, inputs, outputs, description, located).Pack(packer), IDENTIFIER)
    return seal(bytes(packer.Output()))


def _oldest_runtime(builder: Builder) -> str:
    """The first TFLite with every operator in the version used (runtime_version.cc of LiteRT)."""
    used = {(operator.code, operator.version) for operator in builder.operators}
    for code, version, runtime in (("DEPTH_TO_SPACE", 2, "2.5.0"), ("DEPTH_TO_SPACE", 1, "2.1.0")):
        if (code, version) in used:
            return runtime
    if used & {("DEQUANTIZE", 3), ("MUL", 3)}:
        return "1.15.0"
    if any(version > 1 or code == "QUANTIZE" for code, version in used):
        return "1.14.0"
    return "1.13.1"


def seal(content: bytes) -> bytes:
    """``content`` with the digest of itself (as if that were zeros) in its place.

    The placeholder is the only run of 64 zero digits behind a vector length of 64.
    """
    blank = (DIGEST_BYTES).to_bytes(4, "little") + b"0" * DIGEST_BYTES
    start = content.index(blank) + 4
    return content[:start] + hashlib.sha256(content).hexdigest().encode() + content[start + DIGEST_BYTES :]


def _model(
    builder: Builder,
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    description: str,
    located: Mapping[str, int],
) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    codes = list(dict.fromkeys((operator.code, operator.version) for operator in builder.operators))
    shapes: dict[tuple[int, ...], int] = {}
    graph = schema.SubGraphT(
        tensors=[_tensor(schema, tensor, shapes) for tensor in builder.tensors],
        inputs=list(inputs.values()),
        outputs=list(outputs.values()),
        operators=[_operator(schema, operator, codes) for operator in builder.operators],
        name="main",
    )
    signature = schema.SignatureDefT(
        inputs=[schema.TensorMapT(name, index) for name, index in inputs.items()],
        outputs=[schema.TensorMapT(name, index) for name, index in outputs.items()],
        signatureKey=SIGNATURE,
    )
    return schema.ModelT(
        version=SCHEMA_VERSION,
        operatorCodes=[_operator_code(schema, *code) for code in codes],
        subgraphs=[graph],
        description=description,
        buffers=[_buffer(schema, content) for content in builder.buffers],
        metadata=[schema.MetadataT(name, buffer) for name, buffer in located.items()],
        signatureDefs=[signature],
    )


def _operator_code(schema: Any, code: str, version: int) -> Any:
    number = getattr(schema.BuiltinOperator, code)
    # Old readers know only the one-byte field, whose 127 says "see the other".
    return schema.OperatorCodeT(deprecatedBuiltinCode=min(number, 127), builtinCode=number, version=version)


def _operator(schema: Any, operator: OperatorSpec, codes: list[tuple[str, int]]) -> Any:
    packed = schema.OperatorT(
        opcodeIndex=codes.index((operator.code, operator.version)),
        inputs=list(operator.inputs),
        outputs=list(operator.outputs),
    )
    if operator.options is not None:
        name, fields = operator.options
        packed.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        packed.builtinOptions = getattr(schema, f"{name}T")(**fields)
    return packed


def _tensor(schema: Any, tensor: TensorSpec, shapes: dict[tuple[int, ...], int]) -> Any:
    """A tensor; ``shapes`` remembers where each shape was written, so that equal ones share it."""

    class SharingTensor(schema.TensorT):  # type: ignore[misc]
        def Pack(self, builder: Any) -> int:  # noqa: N802 (the schema's name)
            if tensor.shape not in shapes:
                shapes[tensor.shape] = builder.CreateNumpyVector(np.array(tensor.shape, np.int32))
            name, rule = builder.CreateString(tensor.name), _quantisation(schema, tensor.quantisation)
            quantisation = None if rule is None else rule.Pack(builder)
            schema.TensorStart(builder)
            schema.TensorAddShape(builder, shapes[tensor.shape])
            schema.TensorAddType(builder, getattr(schema.TensorType, _TYPES[tensor.dtype]))
            schema.TensorAddBuffer(builder, tensor.buffer)
            schema.TensorAddName(builder, name)
            if quantisation is not None:
                schema.TensorAddQuantization(builder, quantisation)
            schema.TensorAddHasRank(builder, True)
            return int(schema.TensorEnd(builder))

    return SharingTensor()


def _quantisation(schema: Any, quantisation: Quantisation | None) -> Any:
    if quantisation is None:
        return None
    return schema.QuantizationParametersT(
        scale=quantisation.scale.astype(np.float32),
        zeroPoint=quantisation.zero_point.astype(np.int64),
        quantizedDimension=quantisation.axis,
    )


def _buffer(schema: Any, content: bytes) -> Any:
    """A buffer whose data start at a multiple of 16 bytes.

    The schema asks for it (``force_align``), the generated Python code does not do it.
    """

    class AlignedBuffer(schema.BufferT):  # type: ignore[misc]
        def Pack(self, builder: Any) -> int:  # noqa: N802 (the schema's name)
            data = None
            if content:
                builder.StartVector(1, len(content), ALIGNMENT)
                builder.head -= len(content)
                builder.Bytes[builder.head : builder.head + len(content)] = content
                data = builder.EndVector()
            schema.BufferStart(builder)
            if data is not None:
                schema.BufferAddData(builder, data)
            return int(schema.BufferEnd(builder))

    return AlignedBuffer()
