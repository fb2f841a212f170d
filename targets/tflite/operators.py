"""The TFLite operators that mfs-edge reads: those it writes, and a few that other converters add.

Numbers, option tables and their fields are from the TFLite schema. A field is struct's
letter; ``v`` is a vector of int32.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One operator.

    Attributes:
        name: TFLite's.
        inputs: fewest and most.
        shape: the rule in ``shapes`` that its result's shape follows.
        options: number of its table in the union, 0 for none.
        fields: of that table.
        positive: slots whose numbers must be above zero: the interpreter divides by them.
    """

    name: str
    inputs: tuple[int, int]
    shape: str
    options: int = 0
    fields: str = ""
    positive: tuple[int, ...] = ()


BY_CODE: dict[int, Kind] = {
    0: Kind("ADD", (2, 2), "broadcast", 11, "bB"),
    2: Kind("CONCATENATION", (1, 64), "concatenated", 10, "ib"),
    3: Kind("CONV_2D", (3, 3), "convolved", 1, "biibiib", (1, 2)),
    4: Kind("DEPTHWISE_CONV_2D", (3, 3), "depthwise", 2, "biiibii", (1, 2, 3)),
    5: Kind("DEPTH_TO_SPACE", (1, 1), "unfolded", 94, "i", (0,)),
    6: Kind("DEQUANTIZE", (1, 1), "same", 38),
    14: Kind("LOGISTIC", (1, 1), "same"),
    17: Kind("MAX_POOL_2D", (1, 1), "pooled", 5, "biiiib", (1, 2, 3, 4)),
    18: Kind("MUL", (2, 2), "broadcast", 21, "b"),
    19: Kind("RELU", (1, 1), "same"),
    21: Kind("RELU6", (1, 1), "same"),
    22: Kind("RESHAPE", (1, 2), "reshaped", 17, "v"),
    23: Kind("RESIZE_BILINEAR", (2, 2), "resized", 15, "iiBB"),
    28: Kind("TANH", (1, 1), "same"),
    34: Kind("PAD", (2, 2), "padded", 22),
    39: Kind("TRANSPOSE", (2, 2), "as_many", 26),
    40: Kind("MEAN", (2, 2), "averaged", 27, "b"),
    41: Kind("SUB", (2, 2), "broadcast", 28, "bB"),
    42: Kind("DIV", (2, 2), "broadcast", 29, "b"),
    53: Kind("CAST", (1, 1), "same", 37, "bb"),
    54: Kind("PRELU", (2, 2), "broadcast"),
    55: Kind("MAXIMUM", (2, 2), "broadcast", 39),
    57: Kind("MINIMUM", (2, 2), "broadcast", 39),
    60: Kind("PADV2", (3, 3), "padded", 43),
    75: Kind("SQRT", (1, 1), "same"),
    98: Kind("LEAKY_RELU", (1, 1), "same", 75, "f"),
    114: Kind("QUANTIZE", (1, 1), "same", 89),
    117: Kind("HARD_SWISH", (1, 1), "same", 91),
}
# Others that strangers' image networks use, by name alone; the rest is shown by its number.
OTHERS = {
    **{1: "AVERAGE_POOL_2D", 9: "FULLY_CONNECTED", 25: "SOFTMAX", 26: "SPACE_TO_DEPTH"},
    **{
        43: "SQUEEZE",
        45: "STRIDED_SLICE",
        49: "SPLIT",
        59: "NEG",
        61: "GREATER",
        64: "SELECT",
        65: "SLICE",
    },
    **{67: "TRANSPOSE_CONV", 76: "RSQRT", 83: "PACK", 92: "SQUARE", 97: "RESIZE_NEAREST_NEIGHBOR"},
    **{99: "SQUARED_DIFFERENCE", 100: "MIRROR_PAD", 101: "ABS", 123: "SELECT_V2", 126: "BATCH_MATMUL"},
    **{130: "BROADCAST_TO", 150: "GELU", 206: "STABLEHLO_COMPOSITE"},
}
# ONNX's names, where there is one.
KINDS = {
    **{"CONV_2D": "Conv", "DEPTHWISE_CONV_2D": "Conv", "FULLY_CONNECTED": "Gemm", "LEAKY_RELU": "LeakyRelu"},
    **{"LOGISTIC": "Sigmoid", "TANH": "Tanh", "RESIZE_BILINEAR": "Resize", "PRELU": "PRelu", "ADD": "Add"},
    **{"SUB": "Sub", "MUL": "Mul", "DIV": "Div", "TRANSPOSE": "Transpose", "CAST": "Cast", "RESHAPE": "Reshape"},
    **{"SQRT": "Sqrt", "MAX_POOL_2D": "MaxPool", "RELU": "Relu"},
    **{"DEQUANTIZE": "DequantizeLinear", "QUANTIZE": "QuantizeLinear", "TRANSPOSE_CONV": "ConvTranspose"},
}


def name_of(code: int, custom: str = "") -> str:
    """TFLite's name of an operator, or a custom one's own."""
    known = BY_CODE.get(code)
    return custom or (known.name if known else OTHERS.get(code, f"BUILTIN_{code}"))
