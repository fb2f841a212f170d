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
from mfs_edge.quantize.samples import Sample

if TYPE_CHECKING:
    from mfs_edge.quantize.draft import Draft

MAX_CODE = 127  # symmetric, and clear of -128 (TFLite 8-bit quantisation specification)
# A bias stays this far inside int32, so that products can be added to it.
MAX_BIAS = 2**30
MIN_SCALE = 1e-12


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
    return replace(draft, codes=_of_every_conv(draft, {}))


def for_outputs(draft: Draft) -> Draft:
    """With weights rounded so that what the convs compute changes least, see :mod:`rounding`."""
    return replace(draft, codes=_of_every_conv(draft, draft.samples))


def _of_every_conv(draft: Draft, samples: Mapping[str, Sample]) -> dict[str, Codes]:
    found = {}
    for conv in edit.of_type(draft.model.graph, "Conv"):
        if conv.name in draft.layout.integer:
            scale = draft.grids[draft.layout.group[_source(conv)]].scale
            found[str(conv.name)] = rounded(conv, scale, samples)
    return found


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
        codes = _nearest(exact)
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
    return rounding.compensated(exact[None], moments[None], _nearest, noise=step**2 / 12)[0]


def _nearest(values: np.ndarray) -> np.ndarray:
    codes: np.ndarray = np.clip(np.rint(values), -MAX_CODE, MAX_CODE)
    return codes
