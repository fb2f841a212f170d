"""A graph on its way from float to integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from mfs_edge.base.progress import Count
from mfs_edge.quantize import people
from mfs_edge.quantize.calibration import evenly
from mfs_edge.quantize.coding import Part
from mfs_edge.quantize.grid import Grid
from mfs_edge.quantize.layout import Layout
from mfs_edge.quantize.people import People
from mfs_edge.quantize.samples import Sample
from mfs_edge.quantize.weights import Codes

EACH = 8  # pictures, at least, of each identity


@dataclass(frozen=True)
class Draft:
    """What one step of the recipe hands to the next. No step changes what it is given."""

    model: ir.Model  # of the first of ``people``
    pictures: Sequence[np.ndarray]  # to calibrate on: float32 [1, 3, S, S] each, in 0..1
    float_nodes: tuple[str, ...] = ()
    people: People = field(default=None)  # type: ignore[assignment]  # in units of ``model``; it alone if not given
    results: bool = True  # whether what integer nodes compute is rounded, too
    progress: Count | None = None
    samples: Mapping[str, Sample] = field(default_factory=dict)  # per tensor
    layout: Layout = field(default_factory=lambda: Layout(frozenset(), {}, {}))
    grids: Mapping[str, Grid] = field(default_factory=dict)  # per group of ``layout``
    codes: Mapping[str, Codes] = field(default_factory=dict)  # per Conv on integers
    parts: Mapping[str, Part] = field(default_factory=dict)  # per Conv whose weights an identity owns
    neighbours: int = 0  # the largest sum of two, see :mod:`mfs_edge.quantize.neighbours`

    def __post_init__(self) -> None:
        if self.people is None:
            object.__setattr__(self, "people", People.alone(self.model))

    @property
    def shown(self) -> Sequence[np.ndarray]:
        """The pictures [1, 3, S, S] that each identity is shown: fewer of them where there are many identities."""
        count = len(self.people.weights)
        if count == 1:
            return self.pictures
        return [self.pictures[i] for i in evenly(len(self.pictures), max(EACH, len(self.pictures) // count))]

    def owned(self) -> dict[str, str]:
        """Official keys of owned weights, by the names of the Convs that read them."""
        return {str(conv.name): key for key, conv in people.convs(self.model.graph).items()}
