"""From tensors of four axes to a row of numbers: Transpose, Reshape, Cast and Sqrt.

A row lies in the order that ONNX gives it. The tensor behind it is [N, H, W, C], so that a Transpose
and the Reshape that reads it become one TRANSPOSE, or none, and a RESHAPE.
"""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import LoweringError
from mfs_edge.graph import edit

from . import quantised
from .context import Lowering
from .lowering import NHWC, lowers

_IN_ORDER = [0, 1, 2, 3]


@lowers("Transpose")
def _transpose(low: Lowering, node: ir.Node) -> None:
    """Nothing yet: the Reshape that reads it lays it out."""
    reads = list(node.outputs[0].uses())
    if not reads or any(use.node.op_type != "Reshape" for use in reads) or node.outputs[0].is_graph_output():
        raise LoweringError(f"Transpose node {node.name}: is lowered only where every reader makes a row of it")


@lowers("Reshape")
def _reshape(low: Lowering, node: ir.Node) -> None:
    """A row: RESHAPE, behind a TRANSPOSE where the numbers lie in another order."""
    sizes = quantised.constant(node.inputs[1])
    if sizes is None or sizes.size != 1:
        raise LoweringError(f"Reshape node {node.name}: is lowered only where it makes a row of one axis")
    before = edit.producer(node.inputs[0], "Transpose")
    asked = _IN_ORDER if before is None else list(edit.integers(before, "perm"))
    x = low.activation(node if before is None else before)
    if len(low.shape(x)) != 4:
        raise LoweringError(f"Reshape node {node.name}: reads a tensor of {len(low.shape(x))} axes, not of four")
    x = _laid_out(low, node, x, [NHWC[axis] for axis in asked])
    count = [prod(low.shape(x))]
    size = low.integers(f"size.{count[0]}", count)
    low.emit(node, "RESHAPE", [x, size], count, "Reshape", newShape=count)


def _laid_out(low: Lowering, node: ir.Node, x: int, order: list[int]) -> int:
    """``x`` with its axes in ``order``; itself where that moves no number."""
    shape = low.shape(x)
    long = [axis for axis in order if shape[axis] > 1]
    if long == sorted(long):
        return x
    out = low.builder.tensor(f"{node.outputs[0].name}.laid_out", "float32", [shape[axis] for axis in order])
    low.builder.operator("TRANSPOSE", [x, low.integers(f"order.{order}", order)], [out], "Transpose")
    return out


@lowers("Cast")
def _cast(low: Lowering, node: ir.Node) -> None:
    """Nothing for a weight that is kept small; else to half precision, for which XNNPACK has no operator."""
    if quantised.half(node.outputs[0]) is not None:
        return
    if node.attributes["to"].as_int() != ir.DataType.FLOAT16.value:
        raise LoweringError(f"Cast node {node.name}: is lowered to float16 only")
    x, output = low.activation(node), node.outputs[0]
    tensor = low.builder.tensor(str(output.name), "float16", low.shape(x))
    low.builder.operator("CAST", [x], [tensor], "Cast", inDataType=0, outDataType=1)
    low.bind(output, tensor)


@lowers("Sqrt")
def _sqrt(low: Lowering, node: ir.Node) -> None:
    x = low.activation(node)
    low.emit(node, "SQRT", [x], low.shape(x), None)


@lowers("GlobalAveragePool")
def _mean(low: Lowering, node: ir.Node) -> None:
    x = low.activation(node)
    n, _, _, channels = low.shape(x)
    axes = low.integers("axes.1.2", np.array([1, 2]))
    low.emit(node, "MEAN", [x, axes], (n, 1, 1, channels), "Reducer", keepDims=True)


@lowers("MaxPool")
def _max_pool(low: Lowering, node: ir.Node) -> None:
    """Windows side by side, none of them padded."""
    x = low.activation(node)
    n, height, width, channels = low.shape(x)
    window, steps = edit.integers(node, "kernel_shape"), edit.integers(node, "strides", (1, 1))
    if any(edit.integers(node, "pads")) or len(window) != 2:
        raise LoweringError(f"MaxPool node {node.name}: is lowered without padding only")
    rows, columns = ((size - w) // s + 1 for size, w, s in zip((height, width), window, steps, strict=True))
    low.emit(
        node,
        "MAX_POOL_2D",
        [x],
        (n, rows, columns, channels),
        "Pool2D",
        padding=1,
        strideH=steps[0],
        strideW=steps[1],
        filterHeight=window[0],
        filterWidth=window[1],
    )
