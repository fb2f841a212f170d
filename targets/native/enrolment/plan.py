"""Where everything lies: activations in the arena, constants in the weights, in the forms that kernels read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from ..plan import LINE, MARGIN, place, rounded
from ..tiles import PANEL
from . import stages
from .graph import Graph, Node, Shape
from .stages import Stage

MOST_FLOATS = 2**28  # of an arena, and of the weights
GROUP = 2 * PANEL  # outputs that are computed at once, where there are as many
SPREAD = 64  # pixels; where there are fewer, workers share the outputs
FOUR = 4  # numbers of the crop that are read at once
BYTES = {"float": 4, "half": 2, "code": 1}


@dataclass
class Map:
    """A tensor in the arena: [rows, width, places] floats, channels innermost, with a border of zeros."""

    name: str
    rows: int
    width: int
    channels: int
    pad: int = 0
    picture: bool = False  # without gaps between pixels, and with a few zeros behind each row
    first: int = 0  # stage that writes it
    last: int = 0  # stage that reads it last
    offset: int = 0  # floats, in the arena

    @property
    def places(self) -> int:
        return self.channels if self.picture else rounded(self.channels)

    @property
    def pixel(self) -> int:
        """Floats from a pixel to the next."""
        gap = MARGIN if self.rows * self.width > 1 and not self.picture else 0
        return self.places + gap

    @property
    def line(self) -> int:
        """Floats from a row to the next."""
        return (self.width + 2 * self.pad) * self.pixel + (LINE if self.picture else 0)

    @property
    def floats(self) -> int:
        return (self.rows + 2 * self.pad) * self.line

    @property
    def inside(self) -> int:
        """Where its first pixel lies in the arena."""
        return self.offset + self.pad * (self.line + self.pixel)


@dataclass(frozen=True)
class Stored:
    """A constant in a form."""

    name: str
    form: str  # "map", "panels", "picture", "scale" or "taps"
    stored: str  # one of BYTES
    numbers: int  # with those that fill it up
    offset: int  # floats, in the weights behind their header


@dataclass(frozen=True)
class Plan:
    """All that decides the C."""

    graph: Graph
    stages: tuple[Stage, ...]
    maps: Mapping[str, Map]
    constants: Mapping[tuple[str, str], Stored]  # by name and form

    @property
    def arena(self) -> int:
        """Floats."""
        return max(held.offset + rounded(held.floats) for held in self.maps.values())

    @property
    def weights(self) -> int:
        """Bytes, without the header."""
        return 4 * max(held.offset + _floats(held) for held in self.constants.values())


def make(graph: Graph) -> Plan:
    """The plan of a graph whose shapes are known.

    Raises:
        ValueError: it is too large.
    """
    found = stages.scheduled(graph)
    maps = {stage.target: _map(graph, stage.target) for stage in found if stage.target}
    for stage in found:
        if stage.node is not None and stage.node.kind == "conv" and stage.node.pad:
            source = maps[stage.reads[0]]
            source.pad = max(source.pad, stage.node.pad)
    for name, held in maps.items():
        touched = [i for i, stage in enumerate(found) if name in stage.reads or stage.target == name]
        held.first, held.last = min(touched), max(touched)
    place(maps.values())
    plan = Plan(graph, found, maps, _constants(graph, found))
    if max(plan.arena, plan.weights // 4) > MOST_FLOATS:
        raise ValueError("it needs more memory than any such network")
    return plan


def _map(graph: Graph, name: str) -> Map:
    n, c, h, w = graph.shapes[name]
    return Map(name, n * h, w, c, picture=name == graph.crop)


def _constants(graph: Graph, found: Sequence[Stage]) -> dict[tuple[str, str], Stored]:
    placed: dict[tuple[str, str], Stored] = {}
    at = 0
    for stage in found:
        for slot, name in enumerate(stage.reads):
            if name not in graph.constants:
                continue
            for form in _forms(graph, stage, slot):
                if (name, form) not in placed:
                    stored = "float" if form == "scale" else graph.constants[name].stored
                    placed[name, form] = Stored(name, form, stored, _numbers(graph, name, form), at)
                    at += _floats(placed[name, form])
    return placed


def _floats(held: Stored) -> int:
    return rounded(held.numbers * BYTES[held.stored], 4 * LINE) // 4


def _forms(graph: Graph, stage: Stage, slot: int) -> tuple[str, ...]:
    kernel, _, stored = stage.kind.partition("_")
    if kernel not in ("dense", "single") or slot != 1:
        return ("map",)
    form = "taps" if kernel == "single" else "picture" if stage.reads[0] == graph.crop else "panels"
    return (form, "scale") if stored == "code" else (form,)


def _numbers(graph: Graph, name: str, form: str) -> int:
    n, c, h, w = shape = graph.constants[name].shape
    return {
        "map": n * h * w * rounded(c),
        "panels": rounded(n) * inner(shape, form) * h * w,
        "picture": rounded(n) * inner(shape, form) * h,
        "scale": rounded(n),
        "taps": prod(shape),
    }[form]


def inner(shape: Shape, form: str) -> int:
    """Numbers that a kernel [O, I, h, w] reads side by side: a pixel's, or those of a row of the crop."""
    return rounded(shape[1] * shape[3], FOUR) if form == "picture" else rounded(shape[1])


def by_outputs(held: Map) -> bool:
    """Whether workers share the outputs of a convolution, and not the rows."""
    return held.rows * held.width <= SPREAD


def group(held: Map) -> int:
    """How many outputs are one worker's least share."""
    return GROUP if held.places % GROUP == 0 else PANEL


def units(plan: Plan, stage: Stage) -> int:
    """Parts of a stage that can be computed each alone."""
    if stage.kind == "payload":
        return 1
    target = plan.maps[stage.target]
    if stage.kind.startswith("dense") and by_outputs(target):
        return target.places // group(target)
    if stage.kind == "mean" or stage.kind.startswith("single"):
        return target.places // PANEL
    return target.rows


def geometry(stage: Stage) -> Node:
    """Of a stage that has one.

    Raises:
        ValueError: it has none.
    """
    if stage.node is None:
        raise ValueError(f"stage {stage.name} has no kernel")
    return stage.node
