"""Weights as integers: int8 per output channel, symmetric; int32 biases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.quantize import layout as layouts
from mfs_edge.quantize import neighbours, rounding
from mfs_edge.quantize.coding import Part
from mfs_edge.quantize.rounding import MAX_CODE
from mfs_edge.quantize.samples import Sample

if TYPE_CHECKING:
    from mfs_edge.quantize.draft import Draft

# A bias stays this far inside int32, so that products can be added to it.
MAX_BIAS = 2**30
MIN_SCALE = 1e-12
# An identity's weights may be that much larger than the base's largest: of one identity, or of many. A depthwise
# conv's rounding is a hundredth of what its outputs' is, so that a bit less does no harm.
ALONE, AMONG = 2.0, 1.25


@dataclass(frozen=True)
class Codes:
    """A Conv's weight and bias as integers."""

    weight: np.ndarray  # int8 [O, I / groups, kh, kw]
    scale: np.ndarray  # float32 [O]
    bias: np.ndarray  # int32 [O]
    bias_scale: np.ndarray  # float32 [O]: the input's scale times ``scale``

    def real(self) -> np.ndarray:
        """The weight that the codes stand for, float64 [O, I / group, k, k]."""
        return self.weight * self.scale.astype(np.float64)[:, None, None, None]

    def with_bias(self, bias: np.ndarray) -> Codes:
        """The same weight with another bias, float [O]."""
        limit = np.iinfo(np.int32).max
        codes = np.clip(np.rint(bias / self.bias_scale.astype(np.float64)), -limit, limit)
        return Codes(self.weight, self.scale, codes.astype(np.int32), self.bias_scale)


def to_nearest(draft: Draft) -> Draft:
    """With weights rounded one by one."""
    return _of_every_conv(draft, {})


def for_outputs(draft: Draft) -> Draft:
    """With weights rounded so that what the convs compute changes least, see :mod:`rounding`."""
    return _of_every_conv(draft, draft.samples)


def _of_every_conv(draft: Draft, samples: Mapping[str, Sample]) -> Draft:
    codes, parts, owned = {}, {}, draft.owned()
    for conv in edit.of_type(draft.model.graph, "Conv"):
        name, integer = str(conv.name), conv.name in draft.layout.integer
        scale = draft.grids[draft.layout.group[_source(conv)]].scale if integer else 1.0
        if name in owned:
            parts[name] = _part(draft, conv, owned[name], scale, samples)
            if parts[name].scale is not None:
                codes[name] = of_person(draft.people.weights[0], parts[name], edit.conv_bias(conv), scale)
        elif integer:
            codes[name] = rounded(conv, scale, samples)
    return replace(draft, codes=codes, parts=parts)


def _part(draft: Draft, conv: ir.Node, key: str, input_scale: float, samples: Mapping[str, Sample]) -> Part:
    """How an owned weight is stored: as integers where its conv computes on some, or where codes are all it needs."""
    if conv.name not in draft.layout.integer and draft.results:
        return draft.people.part(key, conv, "float32")
    depthwise = edit.is_depthwise(conv)
    reach = np.max([widest(own[key], depthwise=depthwise) for own in draft.people.weights], axis=0)
    scale = np.maximum(reach * headroom(len(draft.people.weights)), MIN_SCALE)
    scale = np.maximum(scale, np.abs(edit.conv_bias(conv)) / (input_scale * MAX_BIAS)).astype(np.float32)
    moments = None
    if not depthwise and _source(conv) in samples:
        inputs = samples[_source(conv)].values.astype(np.float64)
        noise = input_scale**2 / 12 if conv.name in draft.layout.integer else 0.0
        moments = (inputs.T @ inputs / len(inputs) + noise * np.eye(inputs.shape[1]))[None].astype(np.float32)
    return draft.people.part(key, conv, "int8", scale=scale, moments=moments)


def headroom(identities: int) -> float:
    """How far beyond the largest weight seen a base's steps reach, for identities to come."""
    return ALONE if identities == 1 else AMONG


def of_person(weights: Mapping[str, np.ndarray], part: Part, bias: np.ndarray, input_scale: float) -> Codes:
    """One identity's codes of an owned weight, and the shared bias, float [O]."""
    if part.scale is None:
        raise ValueError(f"{part.name} is not stored as integers")
    codes = part.coded(weights[part.name])
    empty = np.zeros(len(codes), np.int32)
    return Codes(codes, part.scale, empty, (np.float64(input_scale) * part.scale).astype(np.float32)).with_bias(bias)


def rounded(conv: ir.Node, input_scale: float, samples: Mapping[str, Sample]) -> Codes:
    """One Conv's integers, its bias right for unrounded inputs; rounded to nearest if its input has no sample."""
    read = samples[_source(conv)].values if _source(conv) in samples else None
    depthwise = edit.is_depthwise(conv)
    return quantise(edit.weight(conv, 1), edit.conv_bias(conv), input_scale, read, depthwise=depthwise)


def _source(conv: ir.Node) -> str:
    """The tensor that ``conv`` reads."""
    return str(layouts.operands(conv)[0].name)


def quantise(
    weight: np.ndarray,
    bias: np.ndarray,
    input_scale: float,
    inputs: np.ndarray | None = None,
    *,
    depthwise: bool = False,
) -> Codes:
    """Round a Conv's weight and bias; no CPU's kernels saturate with them, see :mod:`neighbours`.

    Args:
        weight: float [O, I / groups, kh, kw].
        bias: float [O].
        input_scale: of the integers that the Conv reads.
        inputs: a sample of what the Conv reads, [n, channels]. Its weights are then rounded
            so that the outputs change least if it is pointwise, see :mod:`rounding`, and its
            bias makes up for the mean of the change. Without one they are rounded to nearest.
        depthwise: has weights that are no neighbours.
    """
    scale = np.maximum(widest(weight, depthwise=depthwise), MIN_SCALE)
    # A channel of tiny weights under a large bias would overflow int32.
    scale = np.maximum(scale, np.abs(bias) / (input_scale * MAX_BIAS)).astype(np.float32)
    exact = weight / scale[:, None, None, None].astype(np.float64)
    if inputs is not None and weight.shape[1:] == (inputs.shape[1], 1, 1):
        codes = _rounded(exact[:, :, 0, 0], inputs.astype(np.float64), input_scale)[:, :, None, None]
    else:
        codes = rounding.codes(exact)
    if not depthwise:
        codes = neighbours.settled(codes, exact)
    if inputs is not None:
        bias = bias + _mean_change(exact - codes, inputs.mean(axis=0, dtype=np.float64)) * scale
    bias_scale = (np.float64(input_scale) * scale).astype(np.float32)
    empty = np.zeros(len(bias), np.int32)
    return Codes(codes.astype(np.int8), scale, empty, bias_scale).with_bias(bias)


def widest(weight: np.ndarray, *, depthwise: bool = False) -> np.ndarray:
    """The scale at which a conv's weights, and what neighbours sum to, just fit: float [O]."""
    alone: np.ndarray = np.abs(weight).max(axis=(1, 2, 3)) / MAX_CODE
    return alone if depthwise else np.maximum(alone, neighbours.largest(weight) / neighbours.LIMIT)


def _mean_change(lost: np.ndarray, means: np.ndarray) -> np.ndarray:
    """What rounding took off the mean of each output, borders aside: [O]."""
    groups = len(means) // lost.shape[1]
    per_output = np.repeat(means.reshape(groups, -1), len(lost) // groups, axis=0)
    return np.einsum("ocij,oc->o", lost, per_output)


def _rounded(exact: np.ndarray, inputs: np.ndarray, step: float) -> np.ndarray:
    """Codes for weights in units of their rows' steps, [O, I]; ``inputs``: [n, I]; ``step``: of their own rounding."""
    moments = inputs.T @ inputs / len(inputs)
    return rounding.compensated(exact[None], moments[None], rounding.codes, noise=step**2 / 12)[0]
