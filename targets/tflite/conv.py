"""Conv: CONV_2D or DEPTHWISE_CONV_2D.

A dense 3x3 Conv with a few output channels, such as the tail's and the mask's at full size,
leaves most of a kernel's 8 or 16 lanes idle. It is written as a 4x4 one with stride 2 that
makes a quad of four pixels at a time, and a DEPTH_TO_SPACE that lays them out: the same sums
(16 / 4 taps a pixel for 9), measured at twice the speed on AVX512, and no slower by count where
a tile is 8 wide.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from mfs_edge.errors import LoweringError

from . import padding, weights
from .context import Lowering
from .weights import Form

_LANES = 16  # output channels that one tile of a float kernel computes, at most


def lower(low: Lowering, node: ir.Node) -> None:
    """A Conv, with what padding it needs."""
    pad = low.padded.get(weights.value_of(node, 0))
    x = low.activation(node) if pad is None else padding.pad_source(low, pad)
    pads, fill = padding.total_pads(node, pad), padding.pad_fill(pad) if pad is not None else 0.0
    if fill:
        x, fill = low.shifted(x, fill)
    mode, x = padding.expressed(low, node, x, pads)
    form = _form(low, node, x, mode)
    n, _, _, channels = low.shape(x)
    kernel, stride = weights.kernel_of(node), padding.strides(node)
    shape = (n, *padding.output_size(low.shape(x), kernel.shape[2:], stride, mode), kernel.shape[0])
    inputs = [x, *weights.constants(low, node, x, form, fill)]
    options: dict[str, Any] = {"padding": mode, "strideH": stride[0], "strideW": stride[1]}
    if form is Form.QUADS:
        _emit_quads(low, node, inputs, shape)
    elif form is Form.DEPTHWISE:
        options["depthMultiplier"] = kernel.shape[0] // channels
        low.emit(node, "DEPTHWISE_CONV_2D", inputs, shape, "DepthwiseConv2D", **options)
    else:
        low.emit(node, "CONV_2D", inputs, shape, "Conv2D", **options)


def _emit_quads(low: Lowering, node: ir.Node, inputs: list[int], shape: tuple[int, ...]) -> None:
    n, height, width, channels = shape
    quads = low.intermediate(node, "quads", (n, height // 2, width // 2, 4 * channels))
    low.program.operator("CONV_2D", inputs, [quads], "Conv2D", padding=padding.SAME, strideH=2, strideW=2)
    low.emit(node, "DEPTH_TO_SPACE", [quads], shape, "DepthToSpace", blockSize=2)


def _form(low: Lowering, node: ir.Node, x: int, mode: int) -> Form:
    found = node.attributes.get("group")
    group = found.as_int() if found is not None else 1
    _, height, width, channels = low.shape(x)
    outer, inner, *extent = weights.kernel_of(node).shape
    dilations = node.attributes.get("dilations")
    dilated = dilations is not None and set(dilations.as_ints()) != {1}
    if dilated or group not in (1, channels) or (group > 1 and inner != 1):
        raise LoweringError(
            f"Conv node {node.name}: group {group} of {channels} channels, or dilation, has no lowering"
        )
    if group > 1:
        return Form.DEPTHWISE
    even = height % 2 == width % 2 == 0
    square = extent == [3, 3] and padding.strides(node) == (1, 1) and mode == padding.SAME
    return Form.QUADS if square and even and outer * Form.QUADS.pixels <= _LANES else Form.DENSE
