"""Range setting: how much of a tensor's values its grid covers.

A wide grid rounds coarsely, a narrow one cuts values off. Two rules: the extremes seen; or the
range with the least mean squared error, rounding and cutting off together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from mfs_edge.quantize.grid import STEPS, Grid
from mfs_edge.quantize.layout import Layout
from mfs_edge.quantize.samples import Sample

if TYPE_CHECKING:
    from mfs_edge.quantize.draft import Draft

BINS = 2048
FRACTIONS = np.linspace(1.0, 0.1, 46)  # of each half of the range, for the search
# Errors of values cut off have one sign, and come together: neighbouring pixels, channels and
# taps add them up where rounding errors cancel. They weigh so much more, and then extremes
# are cut off only where very rare (but freely before a sigmoid); with a weight of 16 the demo
# loses up to 2 dB.
COHERENCE = 64.0
# What ends in the picture itself is never cut off: there, one such value is visible.
NEVER_CUT = frozenset(["Sub", "Mul", "Add"])


def widest(draft: Draft) -> Draft:
    """With grids that hold everything seen."""
    return replace(draft, grids=choose(draft.model, draft.layout, draft.samples, cutting=False))


def cut(draft: Draft) -> Draft:
    """With the grids that lose least, rounding and cutting off together."""
    return replace(draft, grids=choose(draft.model, draft.layout, draft.samples))


def choose(model: ir.Model, layout: Layout, samples: Mapping[str, Sample], *, cutting: bool = True) -> dict[str, Grid]:
    """A grid for each group of ``layout``.

    Args:
        model: the float32 graph.
        layout: of it.
        samples: of its tensors.
        cutting: with the least error, which may cut extremes off; else all that was seen.
    """
    made = {str(node.outputs[0].name): node for node in model.graph}
    grids = {}
    for group in layout.groups:
        members = [name for name in layout.members(group) if name in samples]
        if group in layout.fixed:
            grids[group] = layout.fixed[group]
        elif not cutting or any(made[name].op_type in NEVER_CUT for name in members):
            grids[group] = Grid.over(*_extremes(samples, members))
        else:
            squashed = all(_only_read_by(made[name].outputs[0], "Sigmoid") for name in members)
            grids[group] = least_error(_pooled(samples, members), *_extremes(samples, members), squashed=squashed)
    return grids


def _extremes(samples: Mapping[str, Sample], members: list[str]) -> tuple[float, float]:
    found = [samples[name] for name in members]
    return float(min(s.low.min() for s in found)), float(max(s.high.max() for s in found))


def _pooled(samples: Mapping[str, Sample], members: list[str]) -> np.ndarray:
    """Sampled values and each channel's extremes, together, [n]."""
    found = [part.ravel() for name in members for part in (samples[name].values, samples[name].low, samples[name].high)]
    return np.concatenate(found)


def _only_read_by(value: ir.Value, op_type: str) -> bool:
    return bool(value.uses()) and all(use.node.op_type == op_type for use in value.uses())


def least_error(values: np.ndarray, low: float, high: float, *, squashed: bool = False) -> Grid:
    """The grid inside ``low``..``high`` with the least expected squared error on ``values``.

    Args:
        values: a sample of the tensor, [N].
        low: its lowest value, and ...
        high: ... highest; beyond the sample's, perhaps.
        squashed: only a sigmoid reads the tensor: the error counts behind it, where large
            values hardly differ.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    counts, edges = np.histogram(values, BINS, (low, high + 1e-12))
    centres = ((edges[1:] + edges[:-1]) / 2)[counts > 0]
    shares = counts[counts > 0] / max(counts.sum(), 1)
    seen = _sigmoid if squashed else _itself
    weight = 1.0 if squashed else COHERENCE
    slope = float((shares * (seen(centres) * (1 - seen(centres))) ** 2).sum()) if squashed else 1.0

    def cut(limit: float, beyond: np.ndarray) -> float:
        return weight * float((shares * beyond * (seen(centres) - seen(np.asarray(limit))) ** 2).sum())

    # What is cut off below and above adds up; only the step depends on both ends.
    below = np.array([cut(low * part, centres < low * part) for part in FRACTIONS])
    above = np.array([cut(high * part, centres > high * part) for part in FRACTIONS])
    steps = (high * FRACTIONS[None, :] - low * FRACTIONS[:, None]) / STEPS
    error = below[:, None] + above[None, :] + slope * steps**2 / 12
    a, b = np.unravel_index(np.argmin(error), error.shape)
    return Grid.over(low * FRACTIONS[a], high * FRACTIONS[b])


def _itself(x: np.ndarray) -> np.ndarray:
    return x


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))
