"""Products of integers: what a QDQ graph says of its pointwise convs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mfs_edge.base.errors import LoweringError
from mfs_edge.graph import edit

if TYPE_CHECKING:
    import onnx_ir as ir

PAIRS = 128  # what two neighbouring codes of one sign may sum to, see ``mfs_edge.quantize.neighbours``


@dataclass(frozen=True)
class Integer:
    """A pointwise conv of integers: codes times codes, summed exactly, times ``scale``."""

    codes: np.ndarray  # int8 [N, C], of the weight
    bias: np.ndarray  # int32 [N], in units of ``scale``
    scale: np.ndarray  # float64 [N]: the input's step times the weight's
    step: float  # of what it reads: real = (code - zero) * step, code -128..127
    zero: int


@dataclass(frozen=True)
class Coded:
    """A weight that is stored as codes, of a conv that multiplies real numbers."""

    codes: np.ndarray  # int8, of the weight's shape
    scale: np.ndarray  # float64 [O], per index of the weight's first axis: real = code * scale


def none(outputs: int, inputs: int) -> Integer:
    """Zeros of that shape."""
    codes, bias = np.zeros((outputs, inputs), np.int8), np.zeros(outputs, np.int32)
    return Integer(codes, bias, np.zeros(outputs), 1.0, 0)


def uncoded(*shape: int) -> Coded:
    """Zeros of that shape."""
    return Coded(np.zeros(shape, np.int8), np.zeros(shape[0]))


def told_apart(model: ir.Model) -> tuple[ir.Model, dict[str, Integer], dict[str, Coded]]:
    """``model`` with real weights and nothing rounded, the integers of each conv of integers, and other codes.

    Raises:
        LoweringError: something else than what a pointwise conv reads is rounded; names the node.
    """
    copy = model.clone()
    graph, found, coded = copy.graph, dict[str, Integer](), dict[str, Coded]()
    for conv in list(edit.of_type(graph, "Conv")):
        weight = edit.producer(conv.inputs[1], "DequantizeLinear")
        if weight is None:
            continue
        if edit.producer(conv.inputs[0], "DequantizeLinear") is None and not _rounds_bias(conv):
            coded[str(conv.name)] = _decoded(graph, conv, weight)
        else:
            found[str(conv.name)] = _taken(graph, conv, weight)
    return copy, found, coded


def _rounds_bias(conv: ir.Node) -> bool:
    return len(conv.inputs) > 2 and edit.producer(conv.inputs[2], "DequantizeLinear") is not None


def _decoded(graph: ir.Graph, conv: ir.Node, weight: ir.Node) -> Coded:
    """The codes of ``conv``'s weight, which becomes real: as the runtimes have it, code * scale in float32."""
    codes, scale = edit.constant(weight.inputs[0]), edit.constant(weight.inputs[1])
    zero = edit.constant(weight.inputs[2]) if len(weight.inputs) > 2 else None
    axis = weight.attributes["axis"].as_int() if "axis" in weight.attributes else 1  # as ONNX has it
    if codes is None or scale is None or codes.dtype != np.int8 or (zero is not None and zero.any()):
        raise LoweringError(f"node {weight.name}: target c takes a weight's codes as int8 constants around zero")
    if scale.size > 1 and (axis % codes.ndim != 0 or scale.shape != codes.shape[:1]):
        raise LoweringError(f"node {weight.name}: target c takes one scale per output channel of a weight, or one")
    each = np.broadcast_to(scale.reshape(-1), codes.shape[:1]).astype(np.float32)
    real = codes * each.reshape(-1, *[1] * (codes.ndim - 1))
    conv.replace_input_with(1, edit.new_initialiser(graph, f"{conv.name}.weight.real", real))
    if not weight.outputs[0].uses():
        graph.remove([weight], safe=True)
    return Coded(codes.copy(), each.astype(np.float64))


def _taken(graph: ir.Graph, conv: ir.Node, weight: ir.Node) -> Integer:
    """The integers of ``conv``, which is left with real numbers."""
    bias, restored = (edit.producer(conv.inputs[i], "DequantizeLinear") for i in (2, 0))
    rounded = edit.producer(restored.inputs[0], "QuantizeLinear") if restored is not None else None
    depthwise = edit.producer(rounded.inputs[0], "Conv") if rounded is not None else None
    fits = bias is not None and edit.constant(weight.inputs[0]).shape[2:] == (1, 1)  # type: ignore[union-attr]
    if not fits or depthwise is None or restored is None or rounded is None or bias is None:
        raise LoweringError(
            f"node {conv.name} (Conv): target c multiplies integers in a pointwise conv behind a depthwise one only"
        )
    codes, bias_codes = edit.constant(weight.inputs[0]), edit.constant(bias.inputs[0])
    zero, step, scale = edit.constant(restored.inputs[2]), edit.weight(restored, 1), edit.weight(bias, 1)
    if codes is None or bias_codes is None:
        raise LoweringError(f"node {conv.name} (Conv): its weight and bias must be constants")
    for index, node in ((1, weight), (2, bias)):
        real = edit.weight(node, 0) * edit.weight(node, 1).reshape(-1, *[1] * (edit.weight(node, 0).ndim - 1))
        name = f"{conv.name}.{('', 'weight', 'bias')[index]}.real"
        conv.replace_input_with(index, edit.new_initialiser(graph, name, real))
    conv.replace_input_with(0, depthwise.outputs[0])
    graph.remove([restored, rounded, weight, bias], safe=True)
    return Integer(codes[:, :, 0, 0].copy(), bias_codes.copy(), scale, float(step), 0 if zero is None else int(zero))


def saturates(codes: np.ndarray) -> bool:
    """Whether ``codes`` [N, K], neighbours along K side by side, could overflow 16 bits in pairs with bytes."""
    even, odd = codes[:, 0::2].astype(int), codes[:, 1::2].astype(int)
    high, low = np.maximum(even, 0) + np.maximum(odd, 0), np.minimum(even, 0) + np.minimum(odd, 0)
    return bool(max(high.max(), -low.min()) > PAIRS)
