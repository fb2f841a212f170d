"""A graph on its way from float to integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from mfs_edge.base.progress import Count
from mfs_edge.quantize.grid import Grid
from mfs_edge.quantize.layout import Layout
from mfs_edge.quantize.samples import Sample
from mfs_edge.quantize.weights import Codes


@dataclass(frozen=True)
class Draft:
    """What one step of the recipe hands to the next. No step changes what it is given."""

    model: ir.Model
    pictures: Sequence[np.ndarray]  # to calibrate on: float32 [1, 3, S, S] each, in 0..1
    float_nodes: tuple[str, ...] = ()
    results: bool = True  # whether what integer nodes compute is rounded, too
    progress: Count | None = None
    samples: Mapping[str, Sample] = field(default_factory=dict)  # per tensor
    layout: Layout = field(default_factory=lambda: Layout(frozenset(), {}, {}))
    grids: Mapping[str, Grid] = field(default_factory=dict)  # per group of ``layout``
    codes: Mapping[str, Codes] = field(default_factory=dict)  # per Conv on integers
    neighbours: int = 0  # the largest sum of two, see :mod:`mfs_edge.quantize.neighbours`
