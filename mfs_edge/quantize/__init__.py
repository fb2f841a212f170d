"""Quantisation: a float32 graph in, a QDQ graph out.

Precisions:

* ``fp32``: nothing is quantised.
* ``fp16``: weights are stored as float16, rounded for the outputs (:mod:`mfs_edge.quantize.half`).
  What computes is each target's business: float32 in onnxruntime on a CPU, float16 on a GPU or
  Neural Engine.
* ``int8``: everything is, from the image to both outputs. Weights are int8, symmetric, one
  scale per output channel; biases int32; activations int8, asymmetric, one scale per tensor.
  Nothing is float inside; at the edges is whatever ``--io`` says.
* ``int8-mixed``: as ``int8``, but the nodes that cost most fidelity stay float32: the first
  depthwise conv, the deepest encoder stages, the last convs and the blend (15 % of the
  multiply-accumulates), unless others are named, or searched for a wanted PSNR.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import UsageError
from mfs_edge.quantize import (
    bias_correction,
    centre,
    equalise,
    execute,
    layout,
    merge,
    mixed,
    qdq,
    ranges,
    samples,
    split_leaky,
)
from mfs_edge.quantize.calibration import CalibrationSet, evenly
from mfs_edge.quantize.grid import Grid
from mfs_edge.quantize.layout import Layout
from mfs_edge.quantize.samples import Progress

CORRECTED_ON = 16  # pictures; bias correction holds all of them in memory


@dataclass(frozen=True)
class QuantisedModel:
    """A QDQ graph and how it came about."""

    model: ir.Model
    grids: dict[str, Grid]  # per integer tensor
    float_nodes: tuple[str, ...]


def quantise(
    model: ir.Model,
    calibration: CalibrationSet | Sequence[np.ndarray],
    *,
    precision: str = "int8",
    float_nodes: Collection[str] | None = None,
    min_psnr: float | None = None,
    progress: Progress | None = None,
) -> QuantisedModel:
    """Quantise a float32 graph.

    Args:
        model: made with ``--optimize 1``, in the plain form; left as it is.
        calibration: from :func:`mfs_edge.quantize.calibration.load`, or pictures, float32
            [1, 3, S, S] in 0..1.
        precision: "int8" or "int8-mixed".
        float_nodes: int8-mixed only: what stays float; None is the default choice.
        min_psnr: int8-mixed only: search for the nodes that must stay float to reach it.
        progress: told of each picture run.

    Returns:
        A graph that onnx.checker accepts, with inputs and outputs as ``model`` has them.

    Raises:
        UsageError: an option that cannot be used, or a graph with other operators.
        InputError: a calibration picture makes some tensor infinite.
    """
    if precision not in ("int8", "int8-mixed"):
        raise UsageError(f"precision {precision!r} is not a quantised one; use int8 or int8-mixed")
    if precision == "int8" and float_nodes:
        raise UsageError("int8 leaves no node in float; use int8-mixed to keep some")
    pictures = calibration.images if isinstance(calibration, CalibrationSet) else list(calibration)
    kept: tuple[str, ...] = ()
    if float_nodes is not None:
        kept = tuple(float_nodes)
        layout.find(model, kept)  # refuses unknown names
    elif precision == "int8-mixed":
        kept = mixed.default(model) if min_psnr is None else _searched(model, pictures, min_psnr, progress)
    return _Prepared(model, pictures, kept, progress).quantised(kept)


class _Prepared:
    """A graph made ready: everything that does not depend on which nodes stay float."""

    def __init__(
        self, model: ir.Model, pictures: Sequence[np.ndarray], kept: Collection[str], progress: Progress | None
    ) -> None:
        ready = split_leaky.split(merge.merge(centre.in_whole_steps(model, kept), kept), kept)
        self.pictures = pictures
        seen = samples.collect(ready, pictures, progress)
        self.model, self.samples = equalise.equalise(ready, seen)

    def grids(self, where: Layout) -> dict[str, Grid]:
        """Per group of ``where``."""
        return ranges.choose(self.model, where, self.samples)

    def quantised(self, kept: Collection[str]) -> QuantisedModel:
        kept = mixed.closed(self.model.graph, kept)
        where = layout.find(self.model, kept)
        grids = self.grids(where)
        chosen = evenly(len(self.pictures), CORRECTED_ON)
        few = [self.pictures[i] for i in chosen]
        codes = bias_correction.correct(self.model, where, grids, few, self.samples, chosen)
        result = qdq.insert(self.model, where, grids, codes)
        return QuantisedModel(result, {name: grids[group] for name, group in where.group.items()}, kept)


def _searched(
    model: ir.Model, pictures: Sequence[np.ndarray], min_psnr: float, progress: Progress | None
) -> tuple[str, ...]:
    """The nodes that must stay float to reach ``min_psnr``, by measurement."""
    prepared = _Prepared(model, pictures, (), progress)
    where = layout.find(prepared.model)
    grids = prepared.grids(where)
    few = [pictures[i] for i in evenly(len(pictures), mixed.RANKED_ON)]
    expected = execute.outputs(prepared.model, few)
    ranked = mixed.rank(prepared.model, where, grids, prepared.samples, few, expected)
    found = mixed.search(ranked, lambda kept: prepared.quantised(kept).model, min_psnr, few, expected)
    return mixed.whole(model, prepared.model, found)
