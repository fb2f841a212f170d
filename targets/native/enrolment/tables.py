"""What the stages read and write, as the rows of the C's tables; and its expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..plan import rounded
from ..tiles import PANEL
from . import stages
from .graph import PAYLOADS
from .plan import Map, Plan, by_outputs, geometry, group, inner, units
from .stages import Expression, Stage

CODE = {"add": "({} + {})", "sub": "({} - {})", "mul": "({} * {})", "div": "({} / {})", "sigmoid": "F(sigmoid)({})",
        "sqrt": "F(root)({})", "leaky": "F(leaky)({}, {})"}  # fmt: skip
TOLD = {"add": "({} + {})", "sub": "({} - {})", "mul": "{} * {}", "div": "{} / {}", "sigmoid": "sigmoid({})",
        "sqrt": "sqrt({})", "leaky": "leaky({}, {})"}  # fmt: skip


@dataclass(frozen=True)
class Each:
    """The code of one expression."""

    told: str
    code: str
    single: tuple[bool, ...]  # per operand: whether one number serves all channels


@dataclass(frozen=True)
class Tables:
    """What the stages of one kind each read and write, and which of them a stage is."""

    kernels: tuple[str, ...]  # in the order of their numbers
    rows: Mapping[str, tuple[str, list[tuple[str, str]]]]  # table -> struct, (what it is, its numbers)
    stages: list[tuple[str, str]]
    expressions: list[Each]


def tabled(plan: Plan) -> Tables:
    """All of them."""
    expressions, numbers = _expressions(plan)
    rows: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    kernels: dict[str, int] = {}
    listed = []
    for stage in plan.stages:
        name = f"each_{numbers[stages.signature(plan.graph, stage)]}" if stage.kind == "each" else stage.kind
        table, struct, row = ROWS[stage.kind.partition("_")[0]](plan, stage)
        held = rows.setdefault(table, (struct, []))[1]
        index = kernels.setdefault(name, len(kernels))
        told = ", ".join(dict.fromkeys(stage.nodes)) if stage.target else f"payload: {stage.name}"
        listed.append((told, _numbers(index, len(held), units(plan, stage), *_border(plan, stage))))
        held.append((told, row))
    return Tables(tuple(kernels), rows, listed, expressions)


def _expressions(plan: Plan) -> tuple[list[Each], dict[Any, int]]:
    found: dict[Any, int] = {}
    for stage in plan.stages:
        if stage.kind == "each":
            found.setdefault(stages.signature(plan.graph, stage), len(found))
    made = []
    for expression, single in found:
        names = [f"a{i}" if one else f"LD(a{i} + c)" for i, one in enumerate(single)]
        plain = [chr(ord("a") + i) for i in range(len(single))]
        made.append(Each(_written(expression, plain, TOLD), _written(expression, names, CODE), single))
    return made, found


def _written(expression: Expression, operands: Sequence[str], forms: Mapping[str, str]) -> str:
    kind, *rest = expression
    if kind == "in":
        return operands[rest[0]]
    return forms[kind].format(*(_written(inner, operands, forms) for inner in rest))


def _numbers(*values: object) -> str:
    return f"{{{', '.join(map(str, values))}}}"


def _map(held: Map) -> str:
    return _numbers(held.inside, held.line, held.pixel)


def _border(plan: Plan, stage: Stage) -> tuple[int, ...]:
    held = plan.maps.get(stage.target)
    if held is None or not held.pad:
        return 0, 0, 0, 0, 0
    return held.offset, held.rows, held.line, held.pad * held.pixel, held.pad


def _picture(plan: Plan, stage: Stage) -> tuple[str, str, str]:
    return "pictures", "map", _map(plan.maps[stage.target])


def _dense_row(plan: Plan, stage: Stage) -> tuple[str, str, str]:
    node, source, target = geometry(stage), plan.maps[stage.reads[0]], plan.maps[stage.target]
    _, weight, bias, slope = stage.reads
    form = "picture" if source.picture else "panels"
    shape = plan.graph.constants[weight].shape
    count, taps = inner(shape, form), 1 if source.picture else node.size
    scale = plan.constants[weight, "scale"].offset if (weight, "scale") in plan.constants else 0
    start = source.inside - node.pad * (source.line + source.pixel)
    row = _numbers(
        _numbers(start, node.stride * source.line, node.stride * source.pixel), _map(target),
        plan.constants[weight, form].offset, scale, plan.constants[bias, "map"].offset,
        plan.constants[slope, "map"].offset, count * taps * node.size * PANEL, node.size, taps, source.line,
        source.pixel, count, target.rows, target.width, target.places, int(by_outputs(target)), group(target),
    )  # fmt: skip
    return "denses", "dense", row


def _pool(plan: Plan, stage: Stage) -> tuple[str, str, str]:
    node, source, target = geometry(stage), plan.maps[stage.reads[0]], plan.maps[stage.target]
    sides, step, wide = (
        (node.size, node.stride, target.width) if node.kind == "maxpool" else (source.rows, 1, source.width)
    )
    return "pools", "pool", _numbers(_map(source), _map(target), sides, step, wide, target.places)


def _each(plan: Plan, stage: Stage) -> tuple[str, str, str]:
    target = plan.maps[stage.target]
    operands = [_operand(plan, name, target) for name in stage.reads]
    row = _numbers(_map(target), target.width, target.places, target.channels, _numbers(*operands))
    return "eaches", "each", row


def _operand(plan: Plan, name: str, target: Map) -> str:
    """Steps are zero along what is spread."""
    shared = name in plan.graph.constants
    n, c, h, w = plan.graph.shapes[name]
    if shared:
        at, pixel = plan.constants[name, "map"].offset, rounded(c)
        line = w * pixel
    else:
        held = plan.maps[name]
        at, line, pixel = held.inside, held.line, held.pixel
    steps = (line if n * h == target.rows > 1 else 0, pixel if w == target.width > 1 else 0)
    return _numbers(int(shared), _numbers(at, *steps))


def _join(plan: Plan, stage: Stage) -> tuple[str, str, str]:
    target, sources = plan.maps[stage.target], [plan.maps[name] for name in stage.reads]
    maps, channels = _numbers(*map(_map, sources)), _numbers(*(held.channels for held in sources))
    return "joins", "joined", _numbers(_map(target), target.width, target.places, len(sources), maps, channels)


def _single(plan: Plan, stage: Stage) -> tuple[str, str, str]:
    """Of a convolution in groups the taps are a channel's pixels, of any other a pixel's channels."""
    source, target, (weight, *rest) = plan.maps[stage.reads[0]], plan.maps[stage.target], stage.reads[1:]
    at = [plan.constants[name, "map"].offset for name in rest] or [0, 0]
    scale = plan.constants[weight, "scale"].offset if (weight, "scale") in plan.constants else 0
    if geometry(stage).kind == "grouped":
        taps = (_map(source), source.rows, source.width, target.channels // source.channels)
    else:
        taps = (_numbers(source.inside, 0, 1), 1, source.channels, target.channels)
    row = _numbers(
        *taps, target.inside, plan.constants[weight, "taps"].offset, scale, int(bool(rest)), *at, target.channels
    )
    return "singles", "single", row


def _put(plan: Plan, stage: Stage) -> tuple[str, str, str]:
    if stage.part is None:
        raise ValueError("a stage of the payload is of one of its tensors")
    held, shape = plan.maps[stage.part.value], plan.graph.shapes[stage.part.value]
    steps = (shape[2] * held.line, 1, held.line, held.pixel)
    before = plan.graph.parts[: plan.graph.parts.index(stage.part)]
    to = sum(prod(plan.graph.shapes[part.value]) for part in before) * width(plan)
    counts, order = ([values[axis] for axis in stage.part.axes] for values in (shape, steps))
    return "parts", "part", _numbers(to, held.inside, _numbers(*counts), _numbers(*order))


ROWS: Mapping[str, Callable[[Plan, Stage], tuple[str, str, str]]] = {
    "picture": _picture, "dense": _dense_row, "maxpool": _pool, "mean": _pool, "each": _each, "join": _join,
    "single": _single, "payload": _put,
}  # fmt: skip


def width(plan: Plan) -> int:
    """Bytes of a number of the payload."""
    return np.dtype(PAYLOADS[plan.graph.payload]).itemsize
