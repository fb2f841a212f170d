"""TFLite: the tables of the flatbuffer that hold operators and shapes (tensorflow/lite/schema)."""

from __future__ import annotations

import hashlib
import math
import struct
from pathlib import Path

from mfs_edge.base.errors import InputError
from mfs_edge.measure.programs import Program, Step, Value, reader

# TensorType -> name, bits
_TYPES = {
    **{0: ("float32", 32), 1: ("float16", 16), 2: ("int32", 32), 3: ("uint8", 8), 4: ("int64", 64), 5: ("string", 64)},
    **{6: ("bool", 8), 7: ("int16", 16), 9: ("int8", 8), 10: ("float64", 64), 17: ("int4", 4)},
}
# BuiltinOperator codes that image networks use; another one is shown by its number.
_NAMES = {
    **{0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D"},
    **{5: "DEPTH_TO_SPACE", 6: "DEQUANTIZE", 26: "SPACE_TO_DEPTH"},
    **{9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU", 21: "RELU6", 22: "RESHAPE"},
    **{23: "RESIZE_BILINEAR", 25: "SOFTMAX", 28: "TANH", 34: "PAD", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 42: "DIV"},
    **{43: "SQUEEZE", 45: "STRIDED_SLICE", 49: "SPLIT", 53: "CAST", 54: "PRELU", 55: "MAXIMUM", 57: "MINIMUM"},
    **{59: "NEG", 60: "PADV2", 61: "GREATER", 64: "SELECT", 65: "SLICE", 67: "TRANSPOSE_CONV", 76: "RSQRT"},
    **{83: "PACK", 92: "SQUARE", 97: "RESIZE_NEAREST_NEIGHBOR", 98: "LEAKY_RELU", 99: "SQUARED_DIFFERENCE"},
    **{100: "MIRROR_PAD", 101: "ABS", 114: "QUANTIZE", 117: "HARD_SWISH", 123: "SELECT_V2", 126: "BATCH_MATMUL"},
    **{130: "BROADCAST_TO", 150: "GELU", 206: "STABLEHLO_COMPOSITE"},
}
_KINDS = {
    **{"CONV_2D": "Conv", "DEPTHWISE_CONV_2D": "Conv", "FULLY_CONNECTED": "Gemm", "LEAKY_RELU": "LeakyRelu"},
    **{"LOGISTIC": "Sigmoid", "TANH": "Tanh", "RESIZE_BILINEAR": "Resize", "PRELU": "PRelu", "ADD": "Add"},
    **{"SUB": "Sub", "MUL": "Mul", "DIV": "Div", "TRANSPOSE": "Transpose", "CAST": "Cast", "RESHAPE": "Reshape"},
    **{"DEQUANTIZE": "DequantizeLinear", "QUANTIZE": "QuantizeLinear", "TRANSPOSE_CONV": "ConvTranspose"},
}


class _Table:
    """A flatbuffer table: fields by slot."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at
        self.vtable = at - self._read("<i", at)
        self.slots = (self._read("<H", self.vtable) - 4) // 2
        self.size = self._read("<H", self.vtable + 2)

    def _read(self, kind: str, at: int) -> int:
        if at < 0:
            raise IndexError("an offset points outside the file")
        return int(struct.unpack_from(kind, self.data, at)[0])

    def _field(self, slot: int) -> int | None:
        offset = self._read("<H", self.vtable + 4 + 2 * slot) if slot < self.slots else 0
        return self.at + offset if offset else None

    def number(self, slot: int, kind: str, default: int = 0) -> int:
        at = self._field(slot)
        return default if at is None else self._read(kind, at)

    def _vector(self, slot: int) -> tuple[int, int]:
        """Where its elements start, and how many there are."""
        at = self._field(slot)
        if at is None:
            return 0, 0
        start = at + self._read("<I", at)
        length = self._read("<I", start)
        if start + 4 + length > len(self.data):
            raise IndexError("a vector reaches beyond the end")
        return start + 4, length

    def numbers(self, slot: int) -> tuple[int, ...]:
        start, length = self._vector(slot)
        return struct.unpack_from(f"<{length}i", self.data, start)

    def tables(self, slot: int) -> list[_Table]:
        start, length = self._vector(slot)
        places = range(start, start + 4 * length, 4)
        return [_Table(self.data, at + self._read("<I", at)) for at in places]

    def table(self, slot: int) -> _Table | None:
        at = self._field(slot)
        return None if at is None else _Table(self.data, at + self._read("<I", at))

    def text(self, slot: int) -> str:
        start, length = self._vector(slot)
        return self.data[start : start + length].decode()

    def filled(self, slot: int) -> bool:
        return self._vector(slot)[1] > 0

    def content(self) -> bytes:
        """Its own bytes with the layout, but without what they point to."""
        fields = self.data[self.vtable : self.vtable + 4 + 2 * self.slots]
        return fields + self.data[self.at + 4 : self.at + self.size]


@reader(".tflite")
def read(path: Path) -> Program:
    """Model: operator_codes 1, subgraphs 2, buffers 4. SubGraph: tensors 0, inputs 1, outputs 2, operators 3."""
    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise InputError(f"{path}: is not a TFLite model; write or copy it again")
    model = _Table(data, struct.unpack_from("<I", data)[0])
    # Buffer: data 0, or offset 1 where the weights lie behind the flatbuffer
    stored = [buffer.filled(0) or buffer.number(1, "<Q") > 1 for buffer in model.tables(4)]
    names = [_operator(code) for code in model.tables(1)]
    graph = model.tables(2)[0]
    tensors = [_value(tensor, stored) for tensor in graph.tables(0)]
    values = {str(index): value for index, value in enumerate(tensors)}
    steps = tuple(_step(operator, names, tensors) for operator in graph.tables(3))
    return Program(steps, values, tuple(map(str, graph.numbers(1))), tuple(map(str, graph.numbers(2))))


def _operator(code: _Table) -> str:
    """OperatorCode: deprecated_builtin_code 0, custom_code 1, builtin_code 3."""
    number = max(code.number(0, "<b"), code.number(3, "<i"))
    return code.text(1) or _NAMES.get(number, f"BUILTIN_{number}")


def _value(tensor: _Table, stored: list[bool]) -> Value:
    """Tensor: shape 0, type 1, buffer 2."""
    kind = tensor.number(1, "<b")
    dtype, bits = _TYPES.get(kind, (f"type {kind}", 32))
    return Value(tensor.numbers(0), dtype, bits, constant=stored[tensor.number(2, "<I")])


def _step(operator: _Table, names: list[str], tensors: list[Value]) -> Step:
    """Operator: opcode_index 0, inputs 1, outputs 2, builtin_options_type 3, builtin_options 4."""
    own = names[operator.number(0, "<I")]
    inputs = operator.numbers(1)
    options = operator.table(4)
    return Step(
        own=own,
        kind=_KINDS.get(own, own),
        inputs=tuple("" if index < 0 else str(index) for index in inputs),
        outputs=tuple(map(str, operator.numbers(2))),
        attributes=hashlib.sha256(options.content() if options else b"").hexdigest()[:16],
        multiplies=_multiplies(own, tensors[inputs[1]].shape if len(inputs) > 1 else None),
    )


def _multiplies(own: str, weight: tuple[int, ...] | None) -> int:
    if not weight:
        return 0
    if own in ("CONV_2D", "FULLY_CONNECTED"):
        return math.prod(weight[1:])  # [out, height, width, in] or [out, in]
    return math.prod(weight[1:3]) if own == "DEPTHWISE_CONV_2D" else 0  # [1, height, width, channels]
