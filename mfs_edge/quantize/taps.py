"""What the kernels of a graph's convs see on pictures: means and mean products of their taps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit, statistics

VALUES = 1 << 16  # read per picture and conv


@dataclass(frozen=True)
class Inputs:
    """What a Conv's kernels see, per group: [groups, K] with K = input channels times taps."""

    mean: np.ndarray  # float64 [groups, K]
    moments: np.ndarray  # float64 [groups, K, K]: mean products


def seen(model: ir.Model, images: Sequence[np.ndarray], only: Sequence[ir.Node] | None = None) -> dict[ir.Node, Inputs]:
    """Statistics of what every Conv (or ``only`` those) reads, from patches at random places of every image.

    Args:
        model: float32.
        images: [1, 3, S, S] each, in 0..1.
        only: Convs of ``model``.
    """
    convs = list(edit.of_type(model.graph, "Conv")) if only is None else list(only)
    rng = np.random.default_rng(0)
    collected: dict[ir.Node, list[np.ndarray]] = {conv: [] for conv in convs}
    source = str(model.graph.inputs[0].name)
    names = {_operand(conv) for conv in convs} - {source}
    for image, values in zip(images, statistics.observe(model, images, names), strict=True):
        read = {source: image, **values}
        for conv in convs:
            collected[conv].append(patches(read[_operand(conv)], conv, rng))
    return {conv: _inputs(np.concatenate(found, axis=2)) for conv, found in collected.items()}


def _inputs(found: np.ndarray) -> Inputs:
    """``found``: [groups, K, n]."""
    exact = found.astype(np.float64)  # products of large values would be infinite in float32
    return Inputs(exact.mean(axis=2), exact @ exact.swapaxes(1, 2) / exact.shape[2])


def _operand(conv: ir.Node) -> str:
    return "" if conv.inputs[0] is None else str(conv.inputs[0].name)


def patches(value: np.ndarray, conv: ir.Node, rng: np.random.Generator) -> np.ndarray:
    """What ``conv``'s kernels see at random places of its input [1, C, H, W]: [groups, K, n]."""
    _, channels, height, width = value.shape
    rows, columns = edit.weight(conv, 1).shape[2:]
    top, left, bottom, right = edit.integers(conv, "pads", (0, 0, 0, 0))
    down, across = edit.integers(conv, "strides", (1, 1))
    places = ((height + top + bottom - rows) // down + 1, (width + left + right - columns) // across + 1)
    wanted = -(-VALUES // (channels * rows * columns))
    ys, xs = (rng.integers(extent, size=wanted) * step for extent, step in zip(places, (down, across), strict=True))
    padded = np.pad(value[0], ((0, 0), (top, bottom), (left, right)))
    y = ys + np.arange(rows)[:, None, None]  # [rows, 1, n]
    x = xs + np.arange(columns)[None, :, None]
    return padded[:, y, x].reshape(edit.group(conv), -1, wanted)
