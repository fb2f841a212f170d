"""A Conv's weights in TFLite's layouts, float or int8."""

from __future__ import annotations

import enum
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import LoweringError

from . import quantised
from .context import Lowering
from .flatbuffer import Quantisation

_INT32_MAX = 2**31 - 1
_NARROW = 127  # weights keep clear of -128 (TFLite 8-bit quantisation specification)


class Layout(enum.Enum):
    """Which of TFLite's convolutions, with its layout of weights."""

    DENSE = "dense"
    DEPTHWISE = "depthwise"


class Form(NamedTuple):
    """How a Conv is written; ``block``: rows and columns of pixels that one output position makes."""

    layout: Layout
    block: tuple[int, int] = (1, 1)

    @property
    def pixels(self) -> int:
        """In a block."""
        return self.block[0] * self.block[1]


def constants(low: Lowering, node: ir.Node, x: int, form: Form, fill: float) -> tuple[int, int]:
    """The filter and bias tensors of a Conv.

    Args:
        low: the lowering.
        node: the Conv.
        x: the tensor it reads, for its scale.
        form: how it is written.
        fill: what was subtracted from ``x``; the bias gives it back.
    """
    return (_integer if node in low.integer else _float)(low, node, x, form, fill)


def _float(low: Lowering, node: ir.Node, x: int, form: Form, fill: float) -> tuple[int, int]:
    bias = _bias(node) + (fill * kernel_of(node).astype(np.float64).sum(axis=(1, 2, 3)) if fill else 0)
    filters = _kept(low, node, form) if low.keep_codes else None
    if filters is None:
        filters = low.weight(_name(node, 1), _laid_out(kernel_of(node), form))
    return filters, low.builder.constant(_name(node, 2), np.tile(bias, form.pixels).astype(np.float32))


def _kept(low: Lowering, node: ir.Node, form: Form) -> int | None:
    """A weight that the graph keeps in int8 or float16, made real when the file is loaded; None for any other."""
    name, value = _name(node, 1), node.inputs[1]
    small, stored = quantised.half(value), quantised.codes(value)
    if small is not None:
        return low.dequantised(f"{name}.real", low.builder.constant(name, _laid_out(small, form)))
    if stored is None:
        return None
    held = low.builder.constant(name, _laid_out(stored.integers, form), quantisation=_along(node, stored, form))
    return low.dequantised(f"{name}.real", held)


def _along(node: ir.Node, stored: quantised.Codes, form: Form) -> Quantisation:
    """A scale per output channel of the weight as it is laid out."""
    each = np.tile(_weight_scales(node, stored), form.pixels)
    return Quantisation(each, np.zeros(each.size, np.int64), axis=3 if form.layout is Layout.DEPTHWISE else 0)


def _integer(low: Lowering, node: ir.Node, x: int, form: Form, fill: float) -> tuple[int, int]:
    """int8 weights with a scale per output channel; an int32 bias in steps of input times weight scale."""
    stored = quantised.codes(node.inputs[1])
    if stored is None:
        raise LoweringError(f"Conv node {node.name}: its weight is not quantised")
    scales = _weight_scales(node, stored)
    laid_out, along = _laid_out(stored.integers, form), _along(node, stored, form)
    filters = low.builder.constant(_name(node, 1), laid_out, quantisation=along)
    steps = scales.astype(np.float64) * float(low.quantisation(x).scale[0])
    real = _bias(node) + fill * kernel_of(node).astype(np.float64).sum(axis=(1, 2, 3))
    codes = np.rint(real / steps)
    if not (np.abs(codes) <= _INT32_MAX).all():
        raise LoweringError(
            f"Conv node {node.name}: its bias does not fit int32 at this scale; widen the weight's scale"
        )
    held = Quantisation(np.tile(steps, form.pixels).astype(np.float32), along.zero_point)
    bias = np.tile(codes, form.pixels).astype(np.int32)
    return filters, low.builder.constant(_name(node, 2), bias, quantisation=held)


def _weight_scales(node: ir.Node, stored: quantised.Codes) -> np.ndarray:
    """float32 [O]."""
    scale, zero = stored.quantisation.scale, stored.quantisation.zero_point
    outer = stored.integers.shape[0]
    if zero.any() or scale.size not in (1, outer) or np.abs(stored.integers.astype(int)).max() > _NARROW:
        raise LoweringError(
            f"Conv node {node.name}: TFLite wants weights in -127..127 with zero point 0, "
            "and a scale per tensor or output channel"
        )
    return np.broadcast_to(scale, outer).astype(np.float32)


def _laid_out(kernel: np.ndarray, form: Form) -> np.ndarray:
    """[O, I, h, w] -> [O, h, w, I]; depthwise [C, 1, h, w] -> [1, h, w, C]."""
    if form.layout is Layout.DEPTHWISE:
        return np.ascontiguousarray(kernel.transpose(1, 2, 3, 0))
    return np.ascontiguousarray(spread(kernel, form.block).transpose(0, 2, 3, 1))


def spread(kernel: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """[O, I, h, w], stride 1 -> [b O, I, h + rows - 1, w + columns - 1], strides as ``block``: the same sums.

    Channel k O + o of the result is channel o of pixel k of the block, row by row. So
    DEPTH_TO_SPACE undoes square blocks, and single rows of pixels lie in memory as they are.
    """
    outer, inner, height, width = kernel.shape
    rows, columns = block
    wide = np.zeros((rows, columns, outer, inner, height + rows - 1, width + columns - 1), kernel.dtype)
    for dy, dx in np.ndindex(rows, columns):
        wide[dy, dx, :, :, dy : dy + height, dx : dx + width] = kernel
    return wide.reshape(-1, *wide.shape[3:])


def kernel_of(node: ir.Node) -> np.ndarray:
    """A Conv's weight as real numbers, [O, I, h, w]."""
    array = quantised.constant(value_of(node, 1))
    if array is None or array.ndim != 4:
        raise LoweringError(f"Conv node {node.name}: its weight is not an initialiser of 4 axes")
    return array


def value_of(node: ir.Node, index: int) -> ir.Value:
    """Input ``index``, which must be there."""
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None:
        raise LoweringError(f"{node.op_type} node {node.name}: input {index} is missing")
    return value


def _bias(node: ir.Node) -> np.ndarray:
    """float64 [O]; zeros if the Conv has none."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros(kernel_of(node).shape[0])
    array = quantised.constant(node.inputs[2])
    if array is None:
        raise LoweringError(f"Conv node {node.name}: its bias is not an initialiser")
    return array.astype(np.float64)


def _name(node: ir.Node, index: int) -> str:
    """The initialiser's name, also behind a DequantizeLinear."""
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None:
        return f"{node.name}.bias"
    producer = value.producer()
    if producer is not None and producer.inputs[0] is not None:
        return str(producer.inputs[0].name)
    return str(value.name)
