"""A convolution with the largest code at two places per output, and inputs at the top of u8: what saturates shows."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir

from mfs_edge.quantize import layout, qdq
from mfs_edge.quantize.grid import BYTES, Grid
from mfs_edge.quantize.weights import Codes
from tests.targets.tflite import graphs

SIZE = 8
UNIT = np.float32(1 / 127)  # of the weights: each is 1.0
TOP = Grid(BYTES.scale, -128)  # 1.0 is code 255 of u8
WHITE = np.ones((1, 3, SIZE, SIZE), np.float32)


def couples(places: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(places), 2))


def graph(channels: int, extent: int, found: list[tuple[int, int]], *, depthwise: bool = False) -> ir.Model:
    """A QDQ graph whose output ``swapped`` is [1, len(found), S, S], and 2.0 inside on a white picture.

    Args:
        channels: C of what the convolution reads, 1.0 everywhere.
        extent: of its kernel, odd.
        found: per output, the two places of its ones in a flattened [C, extent, extent].
        depthwise: places in [extent, extent] instead; C outputs.
    """
    inner = 1 if depthwise else channels
    kernel = np.zeros((len(found), inner * extent**2), np.float32)
    for row, places in zip(kernel, found, strict=True):
        row[list(places)] = 1
    spread = np.zeros((channels, 3, 1, 1), np.float32)
    spread[:, 0] = 1
    attributes = {"pads": [extent // 2] * 4, "group": channels if depthwise else 1}
    chain = [
        ("Conv", [spread, np.zeros(channels, np.float32)], {}),
        ("Conv", [kernel.reshape(-1, inner, extent, extent), np.zeros(len(found), np.float32)], attributes),
    ]
    model = graphs.chain(SIZE, chain, channels=len(found))
    where = layout.find(model)
    grids = {group: where.fixed.get(group, TOP) for group in where.groups} | {"swapped": Grid(0.01, -128)}
    return qdq.insert(model, where, grids, {str(n.name): codes(n) for n in model.graph if n.op_type == "Conv"})


def codes(conv: ir.Node) -> Codes:
    """The conv's ones and zeros as 127 and 0."""
    assert conv.inputs[1] is not None
    assert conv.inputs[1].const_value is not None
    weight = np.rint(conv.inputs[1].const_value.numpy() * 127).astype(np.int8)
    scale = np.full(len(weight), UNIT)
    return Codes(weight, scale, np.zeros(len(weight), np.int32), (scale * np.float32(BYTES.scale)).astype(np.float32))


def wrong(swapped: np.ndarray, found: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """The couples whose sum is not 2.0; ``swapped``: [1, len(found), S, S]."""
    inside = swapped[0, :, SIZE // 2, SIZE // 2]
    return {couple for couple, value in zip(found, inside, strict=True) if abs(value - 2) > 0.1}
