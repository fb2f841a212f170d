"""A QDQ graph as Core ML takes it.

Weights are int8 constants that Core ML makes real when it loads or runs the model
(``constexpr_affine_dequantize``, iOS 16). Activations are quantised right before the
convolutions that read them, in the form that coremltools' own tools write: ``quantize`` and
``dequantize`` (iOS 17). The Neural Engine of the A17 Pro and the M4 and their successors
computes such convolutions on int8 ("Impact on Latency and Compute Unit Considerations" in
coremltools' quantization overview); older ones, and CPU and GPU, in half precision. Pairs that
no convolution reads would only cost time there, and are left out; what lies between is
computed in half precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mfs_edge.graph import edit, passes
from mfs_edge.quantize import pairs

from .lowering import Lowering, lowers

if TYPE_CHECKING:
    import onnx_ir as ir

ACTIVATIONS_FROM_IOS = 17
# The smallest scale that half precision holds with all its digits.
LEAST_SCALE = float(np.finfo(np.float16).smallest_normal)


def prepare(model: ir.Model, *, min_ios: int) -> ir.Model:
    """A copy with only the pairs that Core ML has use for, none before iOS 17, and fit for half precision.

    Equalising has balanced all that can be rescaled; logits cannot, and get a product behind them.
    """
    read = {
        pairs.tensor(node)
        for node in edit.of_type(model.graph, "DequantizeLinear")
        if min_ios >= ACTIVATIONS_FROM_IOS and any(use.node.op_type == "Conv" for use in node.outputs[0].uses())
    }
    return passes.run(pairs.drop(model, but=read), [passes.ScaleLogits()])


@lowers("QuantizeLinear")
def _quantise(low: Lowering, node: ir.Node) -> Any:
    if node.outputs[0].is_graph_output():  # a multi-array holds no int8: the codes are whole numbers
        return low.mil.cast(x=low.mil.round(x=low.value(node.inputs[0])), dtype="int32", name=low.name(node))
    scale, zero_point = _grid(low, node)
    return low.mil.quantize(
        input=low.value(node.inputs[0]), scale=scale, zero_point=zero_point, output_dtype="int8", name=low.name(node)
    )


@lowers("DequantizeLinear")
def _dequantise(low: Lowering, node: ir.Node) -> Any:
    stored = edit.constant(node.inputs[0])
    if stored is None:
        scale, zero_point = _grid(low, node)
        return low.mil.dequantize(
            input=low.value(node.inputs[0]), scale=scale, zero_point=zero_point, name=low.name(node)
        )
    real = edit.weight(node, 1)
    if stored.dtype == np.int32:  # a bias: Core ML adds it in half precision
        return low.mil.const(val=low.cast(stored * real), name=low.name(node))
    return low.mil.constexpr_affine_dequantize(
        quantized_data=stored, zero_point=np.int8(0), scale=low.cast(real), axis=np.int32(0), name=low.name(node)
    )


def _grid(low: Lowering, node: ir.Node) -> tuple[Any, Any]:
    """Scale and zero point of a pair.

    A dead tensor's scale would be zero in half precision; a wider one holds it as well.
    """
    zero_point = edit.weight(node, 2)
    return low.cast(np.maximum(edit.weight(node, 1), LEAST_SCALE)), np.int8(zero_point)
