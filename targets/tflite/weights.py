"""A Conv's weights in TFLite's layouts, float or int8."""

from __future__ import annotations

import enum

import numpy as np
import onnx_ir as ir

from mfs_edge.errors import LoweringError

from . import quantised
from .context import Lowering
from .flatbuffer import Quantisation

_INT32_MAX = 2**31 - 1
_NARROW = 127  # weights keep clear of -128 (TFLite 8-bit quantisation specification)
_BLOCK = 2  # pixels of a quad, each way


class Form(enum.Enum):
    """How a Conv is written: one result pixel at a time, by channel, or four pixels at a time."""

    DENSE = "dense"
    DEPTHWISE = "depthwise"
    QUADS = "quads"

    @property
    def pixels(self) -> int:
        """Result pixels in one output position."""
        return _BLOCK * _BLOCK if self is Form.QUADS else 1


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
    kernel = kernel_of(node)
    bias = _bias(node) + fill * kernel.astype(np.float64).sum(axis=(1, 2, 3))
    filters = low.weight(_name(node, 1), _laid_out(kernel, form))
    return filters, low.program.constant(_name(node, 2), np.tile(bias, form.pixels).astype(np.float32))


def _integer(low: Lowering, node: ir.Node, x: int, form: Form, fill: float) -> tuple[int, int]:
    """int8 weights with a scale per output channel; an int32 bias in steps of input times weight scale."""
    stored = quantised.codes(node.inputs[1])
    if stored is None:
        raise LoweringError(f"Conv node {node.name}: its weight is not quantised")
    scales = _weight_scales(node, stored)
    laid_out, each = _laid_out(stored.integers, form), np.tile(scales, form.pixels)
    zeros = np.zeros(each.size, np.int64)
    along = Quantisation(each, zeros, axis=3 if form is Form.DEPTHWISE else 0)
    filters = low.program.constant(_name(node, 1), laid_out, quantisation=along)
    steps = scales.astype(np.float64) * float(low.quantisation(x).scale[0])
    real = _bias(node) + fill * kernel_of(node).astype(np.float64).sum(axis=(1, 2, 3))
    codes = np.rint(real / steps)
    if not (np.abs(codes) <= _INT32_MAX).all():
        raise LoweringError(
            f"Conv node {node.name}: its bias does not fit int32 at this scale; widen the weight's scale"
        )
    held = Quantisation(np.tile(steps, form.pixels).astype(np.float32), zeros)
    bias = np.tile(codes, form.pixels).astype(np.int32)
    return filters, low.program.constant(_name(node, 2), bias, quantisation=held)


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
    """[O, I, h, w] -> [O, h, w, I]; depthwise [C, 1, h, w] -> [1, h, w, C]; quads first spread."""
    if form is Form.QUADS:
        kernel = spread(kernel)
    return np.ascontiguousarray(kernel.transpose((1, 2, 3, 0) if form is Form.DEPTHWISE else (0, 2, 3, 1)))


def spread(kernel: np.ndarray) -> np.ndarray:
    """[O, I, 3, 3] with stride 1 -> [4 O, I, 4, 4] with stride 2: the same sums, four pixels at a time.

    Channel (2 dy + dx) O + o of the result is channel o of the pixel at (dy, dx) in its
    quad, which is the order that DEPTH_TO_SPACE undoes.
    """
    outer, inner, height, width = kernel.shape
    wide = np.zeros((_BLOCK, _BLOCK, outer, inner, height + 1, width + 1), kernel.dtype)
    for dy in range(_BLOCK):
        for dx in range(_BLOCK):
            wide[dy, dx, :, :, dy : dy + height, dx : dx + width] = kernel
    return wide.reshape(-1, inner, height + 1, width + 1)


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
