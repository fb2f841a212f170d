"""Cross-layer equalisation: give every channel of a tensor the same range, exactly.

A tensor has one scale for all its channels, so a quiet channel uses few of the 256 codes.
LeakyReLU is positively homogeneous and the upsample linear: a channel can be multiplied by
any positive factor, through both and through a concatenation, if the conv that reads it
divides its weights (Nagel et al., "Data-Free Quantization Through Weight Equalization and
Bias Correction", ICCV 2019, section 4.1). Here:

* into a depthwise conv it costs nothing: both sides have one weight scale per channel;
* out of a depthwise conv into a pointwise one, factors trade the activation's rounding for
  that of the pointwise weights' columns, which share a scale per row. Between the two there
  is nothing but a sum, so each channel can be shifted too, into the middle of the range,
  where the biases take it up (as channel-wise shifting does: Wei et al., "Outlier
  Suppression+", EMNLP 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.quantize import people, weights
from mfs_edge.quantize.rounding import MAX_CODE
from mfs_edge.quantize.samples import Sample, complete

if TYPE_CHECKING:
    from mfs_edge.quantize.draft import Draft

CARRIERS = ("LeakyRelu", "Relu", "Resize", "Concat")
# The pre-activation grid reaches this far below zero for each unit above it. Wide enough
# for the negative halves, which are the longer ones here.
BELOW = 1.25
# A channel is amplified at most this much beyond the strongest one of its tensor: it may
# come to life on another picture.
FLOOR = 1e-3
# Rounding errors of weights add up over neighbouring pixels, those of activations do not:
# they count so many times.
COHERENCE = 4.0
STEPS = 255
ROUNDS = 8


@dataclass
class Rescaling:
    """What becomes of each tensor: (x + offset) * factor."""

    factor: dict[ir.Value, np.ndarray] = field(default_factory=dict)  # [C] each
    offset: dict[ir.Value, np.ndarray] = field(default_factory=dict)


def step(draft: Draft) -> Draft:
    """Equalised, with samples to match."""
    found = chosen(draft.model, draft.samples)
    model, samples = equalise(draft.model, draft.samples, found)
    owned = people.convs(draft.model.graph)
    moved = draft.people.scaled({name: _multiplier(conv, found) for name, conv in owned.items()})
    return replace(draft, model=model, samples=samples, people=moved)


def chosen(model: ir.Model, samples: Mapping[str, Sample]) -> Rescaling:
    """What every tensor of ``model`` is to be rescaled by."""
    found = Rescaling()
    for node in model.graph:
        if node.op_type == "Conv":
            _choose(node, samples, found)
        else:
            _carry(node, found)
    return found


def equalise(
    model: ir.Model, samples: Mapping[str, Sample], found: Rescaling | None = None
) -> tuple[ir.Model, dict[str, Sample]]:
    """An equalised copy of ``model``, and ``samples`` as they are there.

    The copy computes the same outputs, up to float32's rounding.
    """
    found = chosen(model, samples) if found is None else found
    copy = model.clone()
    for mine, theirs in zip(model.graph, copy.graph, strict=True):
        if mine.op_type == "Conv":
            _rewrite(copy.graph, mine, theirs, found)
    moved = dict(samples)
    for value, factor in found.factor.items():
        if str(value.name) in samples:
            moved[str(value.name)] = samples[str(value.name)].scaled(factor, found.offset.get(value, 0.0))
    return copy, complete(copy, moved)


def _choose(conv: ir.Node, samples: Mapping[str, Sample], found: Rescaling) -> None:
    """The factor and offset of what ``conv`` computes."""
    output = conv.outputs[0]
    sample = samples[str(output.name)]
    found.factor[output] = np.ones(len(sample.low))
    if not edit.scalable(output, CARRIERS):
        return
    readers = list(_convs(output))
    direct = all(use.node.op_type == "Conv" for use in output.uses())
    reach = _reach(output, sample, direct=direct)
    if direct:
        found.offset[output] = -(sample.high + sample.low) / 2
    if not all(edit.is_depthwise(reader) for reader in readers):
        for reader in readers:
            reach = _traded(reach, sample, edit.weight(reader, 1), _spread(samples[str(reader.outputs[0].name)]))
    found.factor[output] = 1 / reach


def _reach(value: ir.Value, sample: Sample, *, direct: bool) -> np.ndarray:
    """How far each channel extends, in units of the grid's upper end; [C], positive."""
    if direct:
        reach = (sample.high - sample.low) / 2
    elif all(use.node.op_type == "Relu" for use in value.uses()):
        reach = sample.high
    else:
        reach = np.maximum(sample.high, -sample.low / BELOW)
    largest = float(reach.max())
    return np.maximum(reach, FLOOR * largest) if largest > np.finfo(np.float32).tiny else np.ones_like(reach)


def _spread(sample: Sample) -> np.ndarray:
    """Variance per channel, never zero."""
    extent = sample.high - sample.low
    floor = (FLOOR * max(float(extent.max()), 1e-6)) ** 2
    return np.maximum(sample.values.var(axis=0, dtype=np.float64), floor)


def _traded(reach: np.ndarray, sample: Sample, weight: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """``reach`` widened where that loses less in the activation than it gains in the weights.

    The error of the reading conv, relative to its outputs' variance: a channel's rounding
    grows with its reach r, as a r^2; the rounding of the weights that read it shrinks, as
    b / r^2. Their sum is least at r = (b / a)^(1/4); b depends on the largest column, so this
    is iterated.

    Args:
        reach: the least that holds the channel; [C].
        sample: of the tensor.
        weight: [O, C, kh, kw] of the conv that reads it.
        spread: variance of that conv's outputs, [O].
    """
    importance = 1 / spread
    columns = np.abs(weight).max(axis=(2, 3))
    taps = weight.shape[2] * weight.shape[3]
    a = np.einsum("ocij,o->c", weight**2, importance) * (2 / STEPS) ** 2
    variance = sample.values.var(axis=0, dtype=np.float64)
    best, least = reach, np.inf
    widened = reach
    for _ in range(ROUNDS):
        row = weights.widest(weight * widened[:, None, None])  # [O]
        b = COHERENCE * taps * variance * float((importance * row**2).sum())
        error = float((a * widened**2 + b / widened**2).sum())
        if error < least:
            best, least = widened, error
        limit = (MAX_CODE * row[:, None] / np.maximum(columns, np.finfo(np.float32).tiny)).min(axis=0)  # widens no row
        optimum = (b / np.maximum(a, np.finfo(np.float64).tiny)) ** 0.25
        widened = np.maximum(reach, np.minimum(optimum, limit))
    return best


def _convs(value: ir.Value) -> Iterator[ir.Node]:
    """The convs that read ``value``, through carriers too."""
    for use in value.uses():
        if use.node.op_type == "Conv":
            yield use.node
        else:
            yield from _convs(use.node.outputs[0])


def _carry(node: ir.Node, found: Rescaling) -> None:
    source, output = node.inputs[0], node.outputs[0]
    if node.op_type == "Concat":
        parts = [found.factor.get(value) for value in node.inputs if value is not None]
        if all(part is not None for part in parts):
            found.factor[output] = np.concatenate(parts)  # type: ignore[arg-type]
    elif node.op_type in CARRIERS and source in found.factor:
        found.factor[output] = found.factor[source]


def _rewrite(graph: ir.Graph, mine: ir.Node, theirs: ir.Node, found: Rescaling) -> None:
    """Give the copied conv the weight and bias for its rescaled input and output."""
    weight, bias = edit.weight(mine, 1), edit.conv_bias(mine)
    source, output = mine.inputs[0], mine.outputs[0]
    biased = len(mine.inputs) > 2 or output in found.offset or source in found.offset
    if source in found.offset:
        bias = bias - np.einsum("ocij,c->o", weight, found.offset[source])
    bias = bias + found.offset.get(output, 0.0)
    edit.set_weight(graph, theirs, 1, weight * _multiplier(mine, found))
    if biased:
        edit.set_weight(graph, theirs, 2, bias * found.factor[output])


def _multiplier(conv: ir.Node, found: Rescaling) -> np.ndarray:
    """What the weight of ``conv`` is multiplied by, broadcast over it."""
    source = conv.inputs[0]
    factor = found.factor[conv.outputs[0]][:, None, None, None]
    return np.asarray(factor if source not in found.factor else factor * edit.per_input(conv, 1 / found.factor[source]))
