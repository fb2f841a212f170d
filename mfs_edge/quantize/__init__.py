"""Quantisation: a float32 graph in, a QDQ graph out.

Precisions:

* ``fp32``: nothing is quantised.
* ``fp16``: weights are stored as float16, rounded for the outputs (:mod:`mfs_edge.quantize.half`).
  What computes is each target's business: float32 in onnxruntime on a CPU, float16 on a GPU or
  Neural Engine.
* ``int8``: everything is, from the image to both outputs. Weights are int8, symmetric, one
  scale per output channel; biases int32; activations int8, asymmetric, one scale per tensor.
  Nothing is float inside; at the edges is whatever ``--io`` says.
* ``int8`` of ``products``: what the wide pointwise convs read, and their weights, are int8 as
  above; their sums are exact and become float32, in which everything else is computed. For code
  of our own, where float costs little beside those products.
* ``int8-mixed``: as ``int8``, but the nodes that cost most fidelity stay float32: the first
  depthwise conv, the deepest encoder stages, the last convs and the blend (15 % of the
  multiply-accumulates), unless others are named, or searched for a wanted PSNR.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import UsageError
from mfs_edge.base.progress import Count
from mfs_edge.quantize import layout, mixed, recipe, scalars
from mfs_edge.quantize.calibration import CalibrationSet, evenly
from mfs_edge.quantize.coding import Coding
from mfs_edge.quantize.draft import Draft
from mfs_edge.quantize.grid import Grid
from mfs_edge.quantize.neighbours import LIMIT
from mfs_edge.quantize.people import People

LEVELLED_ON = 8  # pictures


@dataclass(frozen=True)
class QuantisedModel:
    """A QDQ graph and how it came about."""

    model: ir.Model
    grids: dict[str, Grid]  # per integer tensor
    float_nodes: tuple[str, ...]
    arithmetic: str  # what holds for its integers: a line for the manifest
    coding: Coding  # how the weights that an identity owns are stored
    owned: dict[str, str]  # Convs that read them, by official key


def quantise(
    model: ir.Model,
    calibration: CalibrationSet | Sequence[np.ndarray],
    *,
    precision: str = "int8",
    products: bool = False,
    persons: People | None = None,
    float_nodes: Collection[str] | None = None,
    min_psnr: float | None = None,
    progress: Count | None = None,
) -> QuantisedModel:
    """Quantise a float32 graph.

    Args:
        model: made with ``--optimize 1``; left as it is.
        calibration: from :func:`mfs_edge.quantize.calibration.load`, or pictures, float32
            [1, 3, S, S] in 0..1.
        precision: "int8" or "int8-mixed".
        products: int8 only: only the wide pointwise convs compute on integers, and no result is rounded.
        persons: the identities that it is made for, in units of ``model``; None is the one that it holds.
        float_nodes: int8-mixed only: what stays float; None is the default choice.
        min_psnr: int8-mixed only: search for the nodes that must stay float to reach it.
        progress: told of each picture run.

    Returns:
        A graph that onnx.checker accepts, with inputs and outputs as ``model`` has them.

    Raises:
        UsageError: an option that cannot be used, or a graph with other operators.
        InputError: a calibration picture makes some tensor infinite.
        PassError: written weights could saturate on some CPU (a defect).
    """
    if precision not in ("int8", "int8-mixed"):
        raise UsageError(f"precision {precision!r} is not a quantised one; use int8 or int8-mixed")
    if precision == "int8" and float_nodes:
        raise UsageError("int8 leaves no node in float; use int8-mixed to keep some")
    pictures = calibration.images if isinstance(calibration, CalibrationSet) else list(calibration)
    known = People.alone(model) if persons is None else persons
    seen = [pictures[i] for i in evenly(len(pictures), LEVELLED_ON)]
    levelled, known = scalars.level(model, known, seen, powers=False)
    kept = () if float_nodes is None else tuple(float_nodes)
    draft = Draft(levelled, pictures, kept, people=known, progress=progress)
    if products:
        draft = replace(draft, float_nodes=layout.products(model.graph), results=False)
    layout.find(model, draft.float_nodes)  # refuses unknown names
    if precision == "int8-mixed" and float_nodes is None:
        kept = mixed.default(model) if min_psnr is None else mixed.searched(draft, min_psnr)
        draft = replace(draft, float_nodes=kept)
    return _described(recipe.run(draft))


def _described(draft: Draft) -> QuantisedModel:
    arithmetic = (
        "int8 weights bounded so that no pair of u8 x s8 products exceeds int16 "
        f"(neighbours sum to {draft.neighbours}, at most {LIMIT}): the same sums on every CPU"
    )
    grids = {name: draft.grids[group] for name, group in draft.layout.group.items()}
    owned = {part.name: conv for conv, part in draft.parts.items()}
    coding = Coding.ordered(draft.parts.values())
    return QuantisedModel(draft.model, grids, draft.float_nodes, arithmetic, coding, owned)
