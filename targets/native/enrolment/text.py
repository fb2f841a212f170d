"""The C, as text: tables of what the stages read and write, and one section per instruction set."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from types import SimpleNamespace
from typing import Any

from mfs_edge.base.version import __version__

from .. import text
from ..plan import rounded
from ..tiles import ISAS, PANEL, Isa, split
from . import weights
from .graph import PAYLOADS
from .plan import Map, Plan, group
from .tables import Tables, tabled, width

ERRORS = (
    ("ENROL_OK", 0, "done", ""),
    ("ENROL_ENULL", -1, "a null pointer",
     "a pointer is null, crop.data and the callback included; or the model was never opened"),
    ("ENROL_ESHORT", -2, "fewer bytes than needed", "a cut file, or less than a whole identity"),
    ("ENROL_EMAGIC", -3, "not a file of enrol", "not enrol.weights; or what was given is no identity of idn.weights"),
    ("ENROL_EVERSION", -4, "of another version of the format", "written by an mfs-edge whose files have another form"),
    ("ENROL_EENDIAN", -5, "written for the other byte order", "files are little-endian"),
    ("ENROL_ENETWORK", -6, "of another network", "weights for another enrol.c; an identity of another size"),
    ("ENROL_ECHECKSUM", -7, "damaged", "the checksum finds accidents, not malice: sign what you download"),
    ("ENROL_EALIGN", -8, "not aligned", "weights or arena not at a multiple of 64, planes not at one of 4"),
    ("ENROL_EARENA", -9, "the arena is too small", "fewer bytes than ENROL_ARENA_BYTES"),
    ("ENROL_ESTRIDE", -10, "a stride shorter than a row, not whole floats, or beyond any memory", "of the crop"),
    ("ENROL_EFORMAT", -11, "no such picture format here", "not an enrol_format"),
    ("ENROL_EWORKERS", -12, "no such number of workers", "not 1..ENROL_MAX_WORKERS"),
    ("ENROL_ECPU", -13, "this processor lacks that instruction set", "not one of this processor's"),
    ("ENROL_EPAYLOAD", -14, "the payload's memory is too small", "fewer bytes than ENROL_PAYLOAD_BYTES"),
    ("ENROL_ESTAGE", -15, "no such stage", "not 0..ENROL_STAGES-1"),
)  # fmt: skip
MACROS = ("V", "VI", "LD", "ST", "F", "INLINE", "KERNEL", "MADD", "MADL", "MULL", "LDW", "LDF", "LDC", "ARG")
# Kernels that are the same on every processor.
SHARED = ("picture", "join", "single_float", "single_half", "single_code", "payload")


def source(plan: Plan) -> str:
    """``enrol.c``."""
    made, tables = _environment(), tabled(plan)
    isas = [isa for isa in ISAS if "fp32" in isa.precisions and not isa.half]
    about = {
        "version": __version__, "network": weights.network(plan), "net": _net(plan), "arm": [], "undefined": MACROS,
        "kinds": _stored(plan, "dense"), "singles": _stored(plan, "single"), "errors": ERRORS,
        "sections": [(isa, _section(made, isa, plan, tables)) for isa in isas],
        "expressions": tables.expressions, "used": {stage.kind for stage in plan.stages}, "stages": tables.stages,
        "tables": [(name, struct, rows) for name, (struct, rows) in tables.rows.items()],
        "kernels": [_kernel(name) for name in tables.kernels], "payload": plan.graph.payload, "width": width(plan),
        "most": {kind: max([len(s.reads) for s in plan.stages if s.kind == kind] or [1]) for kind in ("each", "join")},
        "identity": _identity(plan),
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
    return plan.graph.count * width(plan)


def _environment() -> Any:
    made = text.environment()
    made.filters["own"] = own
    return made


def _net(plan: Plan) -> SimpleNamespace:
    """What the templates that are shared with ``idn.c`` ask for."""
    return SimpleNamespace(integers=False, half="half" in _stored(plan, "dense"), halves=False, slope=None)


def _stored(plan: Plan, kernel: str) -> list[str]:
    """How the weights of convolutions that it computes are stored."""
    return sorted({stage.kind.partition("_")[2] for stage in plan.stages if stage.kind.startswith(f"{kernel}_")})


def _identity(plan: Plan) -> int:
    """Bytes of an identity in ``idn.weights``, without its header."""
    sizes = (prod(plan.graph.shapes[part.value]) * width(plan) for part in plan.graph.parts)
    return rounded(sum(rounded(size, 4) for size in sizes), 64)


def _section(made: Any, isa: Isa, plan: Plan, tables: Tables) -> str:
    """All functions for one instruction set."""
    net, kinds = _net(plan), _stored(plan, "dense")
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
