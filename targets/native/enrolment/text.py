"""The C, as text: tables of what the stages read and write, and one section per instruction set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np

from mfs_edge.base.version import __version__

from .. import text
from ..plan import rounded
from ..tiles import ISAS, PANEL, Isa, split
from . import stages, weights
from .graph import PAYLOADS
from .plan import Map, Plan, by_outputs, geometry, group, inner, units
from .stages import Expression, Stage

ERRORS = (
    ("ENROL_OK", 0, "done", ""),
    ("ENROL_ENULL", -1, "a null pointer",
     "a pointer is null: model, weights, crop, its data, payload, arena, identity, the callback; or never opened"),
    ("ENROL_ESHORT", -2, "fewer bytes than needed", "a cut file, or less than a whole identity"),
    ("ENROL_EMAGIC", -3, "not a file of enrol", "not enrol.weights; or what was given is no identity of idn.weights"),
    ("ENROL_EVERSION", -4, "of another version of the format", "written by an mfs-edge whose files have another form"),
    ("ENROL_EENDIAN", -5, "written for the other byte order", "files are little-endian"),
    ("ENROL_ENETWORK", -6, "of another network", "weights for another enrol.c; an identity of another size"),
    ("ENROL_ECHECKSUM", -7, "damaged", "the checksum finds accidents, not malice: sign what you download"),
    ("ENROL_EALIGN", -8, "not aligned", "weights or arena not at a multiple of ENROL_ALIGNMENT, planes not at one of 4"),
    ("ENROL_EARENA", -9, "the arena is too small", "fewer bytes than ENROL_ARENA_BYTES"),
    ("ENROL_ESTRIDE", -10, "a stride shorter than a row, not whole floats, or beyond any memory", "of the crop"),
    ("ENROL_EFORMAT", -11, "no such picture format here", "not an enrol_format"),
    ("ENROL_EWORKERS", -12, "no such number of workers", "not 1..ENROL_MAX_WORKERS"),
    ("ENROL_ECPU", -13, "this processor lacks that instruction set", "not one of this processor's"),
    ("ENROL_EPAYLOAD", -14, "the payload's memory is too small", "fewer bytes than ENROL_PAYLOAD_BYTES"),
    ("ENROL_ESTAGE", -15, "no such stage", "not 0..ENROL_STAGES-1"),
)  # fmt: skip
MACROS = ("V", "VI", "LD", "ST", "F", "INLINE", "KERNEL", "MADD", "MADL", "MULL", "LDW", "LDF", "LDC", "ARG")
SHARED = ("picture", "join", "single_float", "single_half", "single_code", "payload")  # kernels that are the same on every processor
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


def source(plan: Plan) -> str:
    """``enrol.c``."""
    made, tables, net = _environment(), _tables(plan), _net(plan)
    isas = [isa for isa in ISAS if "fp32" in isa.precisions and not isa.half]
    sections = [(isa, _section(made, isa, plan, tables)) for isa in isas]
    about = {
        "version": __version__, "network": weights.network(plan), "net": net, "kinds": _of_kernel(plan, "dense"), "singles": _of_kernel(plan, "single"), "arm": [],
        "sections": sections, "expressions": tables.expressions, "used": {stage.kind for stage in plan.stages},
        "tables": [(name, struct, rows) for name, (struct, rows) in tables.rows.items()], "stages": tables.stages,
        "kernels": [_kernel(name) for name in tables.kernels], "payload": plan.graph.payload, "width": _width(plan),
        "undefined": MACROS, "errors": ERRORS, "identity": _identity(plan),
        "most": {kind: max([len(s.reads) for s in plan.stages if s.kind == kind] or [1]) for kind in ("each", "join")},
    }  # fmt: skip
    return str(made.get_template("enrolment/enrol.c.j2").render(**about)) + "\n"


def header(plan: Plan, precision: str) -> str:
    """``enrol.h``."""
    about = {
        "version": __version__, "precision": precision, "size": plan.graph.size, "errors": ERRORS, "plan": plan,
        "weights": weights.total(plan), "arena": 4 * plan.arena, "payload": payload_bytes(plan),
        "numbers": PAYLOADS[plan.graph.payload], "count": plan.graph.count, "stages": len(plan.stages),
    }  # fmt: skip
    return str(_environment().get_template("enrolment/enrol.h.j2").render(**about)) + "\n"


def own(shared: str) -> str:
    """Text that is written for ``idn.c``, under this file's names."""
    return shared.replace("idn", "enrol").replace("IDN", "ENROL")


def payload_bytes(plan: Plan) -> int:
    return plan.graph.count * _width(plan)


def _environment() -> Any:
    made = text.environment()
    made.filters["own"] = own
    return made


def _net(plan: Plan) -> SimpleNamespace:
    """What the templates that are shared with ``idn.c`` ask for."""
    return SimpleNamespace(integers=False, half="half" in _of_kernel(plan, "dense"), halves=False, slope=None)


def _of_kernel(plan: Plan, kernel: str) -> list[str]:
    """How the weights of convolutions that it computes are stored."""
    return sorted({stage.kind.partition("_")[2] for stage in plan.stages if stage.kind.startswith(f"{kernel}_")})


def _width(plan: Plan) -> int:
    """Bytes of a number of the payload."""
    return np.dtype(PAYLOADS[plan.graph.payload]).itemsize


def _identity(plan: Plan) -> int:
    """Bytes of an identity in ``idn.weights``, without its header."""
    sizes = (prod(plan.graph.shapes[part.value]) * _width(plan) for part in plan.graph.parts)
    return rounded(sum(rounded(size, 4) for size in sizes), 64)


def _section(made: Any, isa: Isa, plan: Plan, tables: Tables) -> str:
    """All functions for one instruction set."""
    net, kinds = _net(plan), _of_kernel(plan, "dense")
    attribute = isa.attribute.replace('"avx2', '"f16c,avx2') if net.half else isa.attribute
    about = {
        "isa": isa, "net": net, "attribute": attribute, "kinds": kinds, "expressions": tables.expressions,
        "used": {stage.kind for stage in plan.stages}, "vectors": {kind: _vectors(plan, isa, kind) for kind in kinds},
        "pixels": {kind: _heights(plan, isa, kind) for kind in kinds},
    }  # fmt: skip
    shared = own(made.get_template("kernels/vector.c.j2").render(**about))
    names = ("numbers", "dense", "maps", "each")
    return "\n".join([shared, *(made.get_template(f"enrolment/kernels/{name}.c.j2").render(**about) for name in names)])


def _dense(plan: Plan, kind: str) -> Iterable[Map]:
    return (plan.maps[stage.target] for stage in plan.stages if stage.kind == f"dense_{kind}")


def _vectors(plan: Plan, isa: Isa, kind: str) -> list[int]:
    """Widths of tiles, in vectors."""
    ragged = any(group(held) % isa.columns for held in _dense(plan, kind))
    return sorted({isa.vectors} | ({PANEL // isa.lanes} if ragged else set()), reverse=True)


def _heights(plan: Plan, isa: Isa, kind: str) -> list[int]:
    """Heights of tiles, in pixels."""
    return sorted({m for held in _dense(plan, kind) for m in split(held.width, isa.pixels)})


def _kernel(name: str) -> str:
    return f"enrol_{name.replace('payload', 'put')}" if name in SHARED else f"F({name})"


def _tables(plan: Plan) -> Tables:
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
    sides, step, wide = (node.size, node.stride, target.width) if node.kind == "maxpool" else (source.rows, 1, source.width)
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
    to = sum(prod(plan.graph.shapes[part.value]) for part in before) * _width(plan)
    counts, order = ([values[axis] for axis in stage.part.axes] for values in (shape, steps))
    return "parts", "part", _numbers(to, held.inside, _numbers(*counts), _numbers(*order))


ROWS: Mapping[str, Callable[[Plan, Stage], tuple[str, str, str]]] = {
    "picture": _picture, "dense": _dense_row, "maxpool": _pool, "mean": _pool, "each": _each, "join": _join,
    "single": _single, "payload": _put,
}  # fmt: skip
