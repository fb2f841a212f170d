"""A graph as the stages of the C: what is computed in one pass over a tensor is one stage.

A LeakyReLU behind a convolution is its last step. Operators on numbers one by one are one expression, as long as
each intermediate is read once and as large as the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..tiles import PANEL
from .graph import Graph, Node, Part
from .operators import EACH

MOST_OPERANDS = 8  # of an expression
ONE = "slope::one"  # a slope that changes nothing, where there is no LeakyReLU

Expression = tuple[Any, ...]  # an operator and its expressions, or ("in", number of the operand)


@dataclass(frozen=True)
class Stage:
    """One pass."""

    kind: str  # the kernel template that computes it
    nodes: tuple[str, ...]
    reads: tuple[str, ...]  # of the arena or the weights
    target: str  # a value; of what writes the payload none
    node: Node | None = None  # for its geometry
    expression: Expression = ()
    part: Part | None = None

    @property
    def name(self) -> str:
        """For people."""
        return self.nodes[-1]


def scheduled(graph: Graph) -> tuple[Stage, ...]:
    """Every stage in order: the picture, the graph, the payload."""
    found = [Stage("picture", (graph.crop,), (), graph.crop)]
    users = _users(graph)
    slopes = _slopes(graph, users)
    inlined: dict[str, Stage] = {}
    for node in graph.nodes:
        if node.kind in EACH:
            if node.output in slopes.values():  # its convolution has done it
                continue
            stage = _expression(graph, node, inlined)
            if _vanishes(graph, node, users, inlined, stage):
                inlined[node.output] = stage
            else:
                found.append(stage)
        else:
            found.append(_of_node(graph, node, slopes))
    return (*found, *(Stage("payload", (part.value,), (part.value,), "", part=part) for part in graph.parts))


def _users(graph: Graph) -> dict[str, list[Node]]:
    """Who reads a value, as often as it does; what the payload reads is read twice, so that it exists."""
    found: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            found.setdefault(name, []).append(node)
    for part in graph.parts:
        found.setdefault(part.value, []).extend([Node("", "", (), "")] * 2)
    return found


def _slopes(graph: Graph, users: dict[str, list[Node]]) -> dict[str, str]:
    """Result of a convolution -> result of the LeakyReLU that alone reads it."""
    found = {}
    for node in graph.nodes:
        readers = users.get(node.output, [])
        if node.kind == "conv" and len(readers) == 1 and readers[0].kind == "leaky":
            found[node.output] = readers[0].output
    return found


def _of_node(graph: Graph, node: Node, slopes: dict[str, str]) -> Stage:
    if node.kind == "grouped":
        return Stage(f"single_{graph.constants[node.inputs[1]].stored}", (node.name,), node.inputs, node.output, node)
    if node.kind != "conv":
        return Stage(node.kind, (node.name,), node.inputs, node.output, node)
    source, weight, bias = node.inputs
    kind = f"{'single' if _few(graph, node) else 'dense'}_{graph.constants[weight].stored}"
    if node.output not in slopes:
        return Stage(kind, (node.name,), (source, weight, bias, ONE), node.output, node)
    leaky = next(other for other in graph.nodes if other.output == slopes[node.output])
    return Stage(kind, (node.name, leaky.name), (source, weight, bias, leaky.inputs[1]), leaky.output, node)


def _few(graph: Graph, node: Node) -> bool:
    """Whether it gives fewer numbers than are computed at once, of one pixel."""
    n, _, h, w = graph.shapes[node.inputs[0]]
    return n * h * w == node.size == 1 and graph.shapes[node.output][1] < PANEL


def _expression(graph: Graph, node: Node, inlined: dict[str, Stage]) -> Stage:
    """``node`` and whatever of its operands stands for itself no more."""
    reads: list[str] = []
    nodes: list[str] = []

    def operand(name: str) -> Expression:
        inner = inlined.get(name)
        if inner is not None:
            nodes.extend(inner.nodes)
            numbers = [_numbered(reads, read) for read in inner.reads]
            return _renumbered(inner.expression, numbers)
        return ("in", _numbered(reads, name))

    expression = (node.kind, *(operand(name) for name in node.inputs))
    return Stage("each", (*nodes, node.name), tuple(reads), node.output, expression=expression)


def _numbered(reads: list[str], name: str) -> int:
    if name not in reads:
        reads.append(name)
    return reads.index(name)


def _renumbered(expression: Expression, numbers: list[int]) -> Expression:
    kind, *rest = expression
    if kind == "in":
        return ("in", numbers[rest[0]])
    return (kind, *(_renumbered(inner, numbers) for inner in rest))


def _vanishes(graph: Graph, node: Node, users: dict[str, list[Node]], inlined: dict[str, Stage], stage: Stage) -> bool:
    """Whether what ``node`` computes is computed where it is read: there alone, in the same size, and not too long."""
    readers = users.get(node.output, [])
    if len(readers) != 1 or readers[0].kind not in EACH:
        return False
    (reader,) = readers
    if graph.shapes[node.output] != graph.shapes[reader.output]:
        return False
    others = [inlined[name].reads if name in inlined else (name,) for name in reader.inputs if name != node.output]
    return len({*stage.reads, *(read for reads in others for read in reads)}) <= MOST_OPERANDS


def signature(graph: Graph, stage: Stage) -> tuple[Expression, tuple[bool, ...]]:
    """What decides the code of an expression: it, and of which operands one number serves all channels."""
    channels = graph.shapes[stage.target][1]
    return stage.expression, tuple(graph.shapes[name][1] < channels for name in stage.reads)
