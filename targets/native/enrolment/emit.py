"""An enrolment as a folder of C: read, plan, write; and made again, to see whether a folder is of this version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge.base.errors import LoweringError, UsageError
from mfs_edge.program import IntegerTensor, Tensor
from mfs_edge.target import CROP, PAYLOAD, EmitOptions

from .. import NativeOptions, read
from . import graph as graphs
from . import operators, plan, text, weights
from .graph import PAYLOADS, Graph
from .plan import Plan

if TYPE_CHECKING:
    import onnx_ir as ir

HERE = Path(__file__).parent
WEIGHTS = "enrol.weights"
PRECISIONS = ("fp32", "fp16", "int8")


def write(model: ir.Model, path: Path, options: EmitOptions) -> None:
    """Write ``model`` as the folder ``path``.

    Raises:
        LoweringError: a node has no place in the C.
        UsageError: it was asked to embed the weights.
    """
    from mfs_edge.graph import ir_program

    from . import reading

    if isinstance(options.own, NativeOptions) and options.own.embed:
        raise UsageError("target c embeds no weights of an enrolment, which are too many; leave c.embed out")
    planned = _planned(reading.read(model))
    made = sources(planned, options.precision)
    made[WEIGHTS] = weights.dumps(planned)
    graph = planned.graph
    about = {
        "size": graph.size,
        "precision": options.precision,
        "payload": PAYLOADS[graph.payload],
        "stages": len(planned.stages),
        "arena": {"shared": 4 * planned.arena, "worker": 0},
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(made.items())},
        "metadata": dict(options.metadata),
        "network": graphs.describe(graph),
    }
    takes, gives = _tensors(graph)
    program = ir_program.program(model)
    integers = list(_integers(planned))
    about["scales"] = [place for _, place in integers]
    described = read.dumps(program, about, takes, gives, [held for held, _ in integers], indent=None)
    made[read.ENROLMENT] = described.encode()
    path.mkdir()
    for name, content in made.items():
        (path / name).write_bytes(content)


def _planned(graph: Graph) -> Plan:
    try:
        return plan.make(graph)
    except ValueError as error:
        raise LoweringError(f"target c does not compute such an enrolment: {error}") from error


def sources(planned: Plan, precision: str) -> dict[str, bytes]:
    """Every file that a compiler reads; they depend on shapes alone."""
    pool = {f"enrol_pool.{kind}": text.own((HERE.parent / f"idn_pool.{kind}").read_text("utf-8")) for kind in "hc"}
    fixed = {
        "main.c": (HERE / "example.c").read_text("utf-8"),
        "CMakeLists.txt": (HERE / "CMakeLists.txt").read_text("utf-8"),
    }
    made = {"enrol.h": text.header(planned, precision), "enrol.c": text.source(planned)}
    return {name: content.encode() for name, content in (made | pool | fixed).items()}


def again(path: Path) -> dict[str, bytes]:
    """The sources that this version writes for what ``path`` says that it holds.

    Raises:
        ValueError, KeyError, TypeError and others: it says nothing of the kind.
    """
    held = json.loads((path / read.ENROLMENT).read_bytes())
    operators.require(held["precision"] in PRECISIONS, f"there is no precision {held['precision']!r:.20}")
    return sources(plan.make(operators.shaped(graphs.blank(held["network"]))), held["precision"])


def _integers(planned: Plan) -> Iterator[tuple[IntegerTensor, list[int]]]:
    """What is rounded, by the names of the float graph, without its scales; where these lie, and how many."""
    for (name, form), place in planned.constants.items():
        if form == "scale":
            held = planned.graph.constants[name]
            told = IntegerTensor.constant(name.removesuffix(".real"), held.numbers, held.scales)
            yield replace(told, scales=()), [weights.HEADER.size + 4 * place.offset, len(held.scales)]


def _tensors(graph: Graph) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    crop = Tensor(CROP, "float32", (1, 3, graph.size, graph.size), layout="NCHW", range="0..1")
    return (crop,), (Tensor(PAYLOAD, PAYLOADS[graph.payload], (graph.count,), layout="", range=""),)
