"""Half precision: every Conv weight becomes a float16 value, chosen so that outputs change least.

Rounding to nearest leaves 71 dB of the golden network's picture and 91 of the demo's, this 84
and 96 (``benchmarks/quantize.py``). The graph stays float32, and what a target stores in float16
is then exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit, passes, statistics
from mfs_edge.quantize import rounding
from mfs_edge.quantize.calibration import evenly

PICTURES = 16  # at most; sums need few, as each has many pixels
VALUES = 1 << 16  # read per picture and conv
LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Inputs:
    """What a Conv's kernels see, per group: [groups, K] with K = input channels times taps."""

    mean: np.ndarray  # float64 [groups, K]
    moments: np.ndarray  # float64 [groups, K, K]: mean products


def prepare(model: ir.Model, images: Sequence[np.ndarray] | None = None) -> ir.Model:
    """A copy of ``model`` for half precision: balanced, so that whatever computes in half survives, and rounded.

    Args:
        model: a float32 graph of any level.
        images: float32 [1, 3, S, S] each, in 0..1, of which a few are used; drawn faces if None.
    """
    if images is None:
        pictures = list(statistics.drawn_faces(statistics.image_size(model), statistics.FEW_FACES))
    else:
        pictures = [images[i] for i in evenly(len(images), PICTURES)]
    return round_weights(passes.balance(model.clone(), pictures), pictures)


def round_weights(model: ir.Model, images: Sequence[np.ndarray]) -> ir.Model:
    """Round the weights of ``model`` to float16 values, in place.

    Args:
        model: float32, batch norms folded.
        images: float32 [1, 3, S, S] each, in 0..1; samples of all are in memory at once. Noise is
            always added: what few flat pictures leave idle must not drift.

    Returns:
        The same model. A conv with a weight beyond float16 is left as it is: its target says so.
    """
    noise = statistics.noise(statistics.image_size(model))
    for conv, inputs in seen(model, [*images, *noise]).items():
        weight = edit.weight(conv, 1)
        if np.abs(weight).max() <= LARGEST:
            _round(model.graph, conv, weight, inputs)
    return model


def _round(graph: ir.Graph, conv: ir.Node, weight: np.ndarray, inputs: Inputs) -> None:
    groups = len(inputs.mean)
    exact = weight.reshape(groups, len(weight) // groups, -1)
    found = rounding.compensated(exact, inputs.moments, _nearest)
    shift = np.einsum("gok,gk->go", exact - found, inputs.mean).reshape(-1)
    edit.set_weight(graph, conv, 1, found.reshape(weight.shape))
    if len(conv.inputs) > 2:  # passes have moved the others' biases to where they cost nothing
        edit.set_weight(graph, conv, 2, edit.conv_bias(conv) + shift)


def _nearest(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -LARGEST, LARGEST).astype(np.float16).astype(np.float64)


def seen(model: ir.Model, images: Sequence[np.ndarray]) -> dict[ir.Node, Inputs]:
    """Statistics of what every Conv reads, from patches at random places of every image [1, 3, S, S] in 0..1."""
    convs = list(edit.of_type(model.graph, "Conv"))
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
