"""The padding before a Conv.

TFLite's convolutions pad with zero, by SAME or not at all. What ONNX asks for is expressed
so where it is exactly that; any other padding becomes an operator of its own.

A Pad with a constant c before a Conv is not left as PADV2, which XNNPACK does not run (and
its PAD takes longer than the first conv itself): conv(pad_c(x)) is conv(pad_0(x - c)) plus c
times the kernel's sum, a subtraction and a bias. In int8, c goes in whole steps and both are
exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import LoweringError
from mfs_edge.graph import edit

from . import quantised
from .context import Lowering, Shape
from .weights import kernel_of, value_of

Pads = tuple[int, int, int, int]  # top, left, bottom, right
SAME, VALID = 0, 1  # of the schema's Padding


def absorbed(low: Lowering, pad: ir.Node) -> bool:
    """Leave ``pad`` to its readers, if each is a Conv that then pads SAME, with the same arithmetic."""
    amounts, values = pad_amounts(pad), _seen_by_readers(low, pad)
    shape = low.shape(low.activation(pad))
    spatial = not (amounts[0].any() or amounts[3].any())
    possible = spatial and all(_pads_itself(low, pad, value, shape) for value in values)
    if possible:
        low.padded.update(dict.fromkeys(values, pad))
    return possible


def pad_source(low: Lowering, pad: ir.Node) -> int:
    """What ``pad`` pads, under the scale that its result has."""
    quantisation = low.result_quantisation(pad)
    source = low.activation(pad)
    return source if quantisation is None else low.requantised(source, quantisation)


def _seen_by_readers(low: Lowering, pad: ir.Node) -> list[ir.Value]:
    """The values that carry what ``pad`` makes: its own, or those of the DequantizeLinears behind it."""
    if pad not in low.integer:
        return [pad.outputs[0]]
    return [use.node.outputs[0] for use in low.integer[pad].outputs[0].uses()]


def _pads_itself(low: Lowering, pad: ir.Node, value: ir.Value, shape: Shape) -> bool:
    readers = [use.node for use in value.uses()]
    fused = all(
        node.op_type == "Conv"
        and (node in low.integer) == (pad in low.integer)
        and same_pads(shape, kernel_of(node).shape[2:], strides(node)) == total_pads(node, pad)
        and (pad_fill(pad) == 0 or not any(_own_pads(node)))
        for node in readers
    )
    return fused and bool(readers) and not value.is_graph_output()


def pad_amounts(node: ir.Node) -> np.ndarray:
    """[4, 2] in NHWC: before and after."""
    mode = node.attributes.get("mode")
    pads = quantised.constant(value_of(node, 1))
    if (mode is not None and mode.as_string() != "constant") or pads is None or pads.size != 8 or (pads < 0).any():
        raise LoweringError(
            f"Pad node {node.name}: only fixed, constant, non-negative padding of 4 axes has a counterpart"
        )
    return np.stack([pads[:4], pads[4:]], axis=1)[[0, 2, 3, 1]].astype(np.int32)


def pad_fill(node: ir.Node) -> float:
    """What it pads with."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return 0.0
    value = quantised.constant(node.inputs[2])
    if value is None:
        raise LoweringError(f"Pad node {node.name}: its value is not an initialiser")
    return float(value.item())


def pad_operator(low: Lowering, node: ir.Node, x: int, amounts: np.ndarray, fill: float) -> tuple[Any, ...]:
    """Code, inputs, shape and options of the operator that pads ``x``; ``amounts`` [4, 2]: before and after."""
    shape = tuple(int(dim + sum(pair)) for dim, pair in zip(low.shape(x), amounts, strict=True))
    inputs = [x, low.integers(f"{node.name}.amounts", amounts)]
    if fill == 0:
        return "PAD", inputs, shape, "Pad"
    quantisation = low.builder.tensors[x].quantisation
    name = f"{node.name}.fill"
    if quantisation is None:
        return "PADV2", [*inputs, low.builder.constant(name, np.array(fill, np.float32))], shape, "PadV2"
    code = quantisation.steps(fill) + int(quantisation.zero_point[0])
    stored = np.array(np.clip(code, -128, 127), np.int8)
    return "PADV2", [*inputs, low.builder.constant(name, stored, quantisation=quantisation)], shape, "PadV2"


def expressed(low: Lowering, node: ir.Node, x: int, pads: Pads) -> tuple[int, int]:
    """SAME or VALID, and the input, padded by an operator if it is neither."""
    if not any(pads):
        return VALID, x
    if pads == same_pads(low.shape(x), kernel_of(node).shape[2:], strides(node)):
        return SAME, x
    top, left, bottom, right = pads
    amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    code, inputs, shape, options = pad_operator(low, node, x, amounts, 0.0)
    spec = low.builder.tensors[x]
    padded = low.builder.tensor(f"{node.name}.padded", spec.dtype, shape, quantisation=spec.quantisation)
    low.builder.operator(code, inputs, [padded], options)
    return VALID, padded


def same_pads(shape: Shape, kernel: Shape, stride: tuple[int, int]) -> Pads:
    """What SAME pads: as little as makes ceil(size / stride) results, the odd one behind."""
    totals = [
        max((-(-size // step) - 1) * step + extent - size, 0)
        for size, extent, step in zip(shape[1:3], kernel, stride, strict=True)
    ]
    height, width = totals
    return height // 2, width // 2, height - height // 2, width - width // 2


def output_size(shape: Shape, kernel: Shape, stride: tuple[int, int], form: int) -> tuple[int, int]:
    """Height and width of what a convolution makes of [N, H, W, C]."""
    reach = (0, 0) if form == SAME else (kernel[0] - 1, kernel[1] - 1)
    height, width = (-(-(size - lost) // step) for size, lost, step in zip(shape[1:3], reach, stride, strict=True))
    return height, width


def total_pads(node: ir.Node, pad: ir.Node | None) -> Pads:
    """What a Conv pads, with that of an absorbed Pad before it."""
    own = _own_pads(node)
    if pad is None:
        return own
    (top, bottom), (left, right) = pad_amounts(pad)[1:3].tolist()
    return own[0] + top, own[1] + left, own[2] + bottom, own[3] + right


def _own_pads(node: ir.Node) -> Pads:
    automatic = node.attributes.get("auto_pad")
    if automatic is not None and automatic.as_string() != "NOTSET":
        raise LoweringError(f"Conv node {node.name}: auto_pad {automatic.as_string()} has no lowering; give pads")
    top, left, bottom, right = edit.integers(node, "pads", (0, 0, 0, 0))
    return top, left, bottom, right


def strides(node: ir.Node) -> tuple[int, int]:
    """A Conv's, down and across."""
    height, width = edit.integers(node, "strides", (1, 1))
    return height, width
