"""Conv: CONV_2D or DEPTHWISE_CONV_2D.

A dense 3x3 Conv with a few output channels, such as the tail's and the mask's at full size,
leaves most of a kernel's 8 or 16 lanes idle. It is written as one with a larger kernel and
stride that makes a block of pixels at a time: the same sums, in fewer steps.

* Float: a quad, 16 / 4 taps a pixel instead of 9, and a DEPTH_TO_SPACE that lays them out.
* int8: a strip of n neighbours, 3 (n + 2) / n taps a pixel. Strips [N, H, W / n, n O] lie in
  memory as pixels [N, H, W, O] do, and a RESHAPE is cheaper than DEPTH_TO_SPACE, which takes
  as long for bytes as for floats. The whole int8 network gains 4 % on AVX512, float nothing.
"""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir

from mfs_edge.base.errors import LoweringError
from mfs_edge.graph import edit

from . import padding, weights
from .context import Lowering
from .weights import Form, Layout

# Output channels that one tile computes in XNNPACK's convolutions: 16 on x86 and with Arm's dot
# products, 8 in float and older integers on Arm. The former counts twice.
_TILES = (16, 16, 8)
_QUAD = (2, 2)


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
    if form.pixels > 1:
        _emit_blocks(low, node, inputs, shape, form.block)
    elif form.layout is Layout.DEPTHWISE:
        options["depthMultiplier"] = kernel.shape[0] // channels
        low.emit(node, "DEPTHWISE_CONV_2D", inputs, shape, "DepthwiseConv2D", **options)
    else:
        low.emit(node, "CONV_2D", inputs, shape, "Conv2D", **options)


def _emit_blocks(
    low: Lowering, node: ir.Node, inputs: list[int], shape: tuple[int, ...], block: tuple[int, int]
) -> None:
    n, height, width, channels = shape
    rows, columns = block
    blocks = low.intermediate(node, "blocks", (n, height // rows, width // columns, rows * columns * channels))
    low.builder.operator("CONV_2D", inputs, [blocks], "Conv2D", padding=padding.SAME, strideH=rows, strideW=columns)
    if block == _QUAD:
        low.emit(node, "DEPTH_TO_SPACE", [blocks], shape, "DepthToSpace", blockSize=rows)
    else:
        size = low.integers(f"shape.{height}x{width}x{channels}", shape)
        low.emit(node, "RESHAPE", [blocks, size], shape, "Reshape", newShape=list(shape))


def _form(low: Lowering, node: ir.Node, x: int, mode: int) -> Form:
    group = edit.group(node)
    _, height, width, channels = low.shape(x)
    outer, inner, *extent = weights.kernel_of(node).shape
    dilated = set(edit.integers(node, "dilations", (1,))) != {1}
    if dilated or group not in (1, channels) or (group > 1 and inner != 1):
        raise LoweringError(
            f"Conv node {node.name}: group {group} of {channels} channels, or dilation, has no lowering"
        )
    if group > 1:
        return Form(Layout.DEPTHWISE)
    if extent != [3, 3] or padding.strides(node) != (1, 1) or mode != padding.SAME:
        return Form(Layout.DENSE)
    return Form(Layout.DENSE, (1, strip(width, outer)) if node in low.integer else _quad(height, width, outer))


def _quad(height: int, width: int, channels: int) -> tuple[int, int]:
    """Where it fits a tile."""
    return _QUAD if height % 2 == width % 2 == 0 and 4 * channels <= max(_TILES) else (1, 1)


def strip(width: int, channels: int) -> int:
    """The length, of those that divide a row, that takes the fewest steps per pixel."""

    def steps(n: int) -> float:
        return sum(math.ceil(n * channels / lanes) * 3 * (n + 2) / n for lanes in _TILES)

    return min((n for n in range(max(_TILES), 0, -1) if width % n == 0), key=steps)
