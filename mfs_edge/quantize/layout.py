"""Which nodes compute on integers, which tensors are integers, and which share a grid."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from mfs_edge.base.errors import UsageError
from mfs_edge.graph import edit
from mfs_edge.quantize import centre, grid
from mfs_edge.quantize.grid import Grid

if TYPE_CHECKING:
    from mfs_edge.quantize.draft import Draft

# What every runtime has in int8; and Relu, which is saturation.
INTEGER_OPERATORS = frozenset(["Conv", "LeakyRelu", "Relu", "Sigmoid", "Resize", "Pad", "Concat", "Add", "Sub", "Mul"])
# They move numbers about, and keep their operands' grid (a resize only averages).
KEEPS_GRID = frozenset(["Resize", "Pad", "Concat"])
# Channels in and out from which an integer product of matrices is worth rounding what it reads.
WIDE = 16


@dataclass(frozen=True)
class Layout:
    """Where a graph's integers are."""

    integer: frozenset[str]  # names of nodes
    group: dict[str, str]  # per integer tensor, in graph order, the one whose grid it shares
    fixed: dict[str, Grid]  # per group, where it is not ours to choose

    def members(self, group: str) -> list[str]:
        return [name for name, owner in self.group.items() if owner == group]

    @property
    def groups(self) -> list[str]:
        """In graph order."""
        return list(dict.fromkeys(self.group.values()))


def step(draft: Draft) -> Draft:
    """With the layout that leaves the float nodes out, and what only moves numbers between them."""
    kept = closed(draft.model.graph, draft.float_nodes)
    return replace(draft, float_nodes=kept, layout=find(draft.model, kept, results=draft.results))


def find(model: ir.Model, float_nodes: Collection[str] = (), *, results: bool = True) -> Layout:
    """The layout of ``model`` with all nodes but ``float_nodes`` on integers.

    Args:
        model: the float32 graph.
        float_nodes: names of nodes.
        results: whether what the others compute is rounded, too; else only what they read is, and an
            integer sum is handed on as the real number that it stands for.

    Raises:
        UsageError: ``float_nodes`` names a node that is not there, or a node outside them
            has no integer form.
    """
    names = {str(node.name) for node in model.graph}
    if unknown := sorted(set(float_nodes) - names):
        raise UsageError(f"the graph has no node {unknown[0]!r} to keep in float; it has {', '.join(sorted(names))}")
    integer = names - set(float_nodes)
    for node in model.graph:
        if node.name in integer and node.op_type not in INTEGER_OPERATORS:
            raise UsageError(
                f"{node.op_type} node {node.name} has no int8 form; quantise a graph made with --optimize 1"
            )
    group = _groups(model.graph, integer, results=results)
    return Layout(frozenset(integer), group, _fixed(model.graph, integer, group))


def operands(node: ir.Node) -> list[ir.Value]:
    """What ``node`` reads that is computed: neither absent nor constant."""
    return [value for value in node.inputs if value is not None and value.const_value is None]


def saturates(value: ir.Value, integer: Collection[str]) -> bool:
    """Whether all that becomes of ``value`` is its positive part, on integers: the grid's end does that."""
    readers = [use.node for use in value.uses()]
    return bool(readers) and all(node.op_type == "Relu" and node.name in integer for node in readers)


def products(graph: ir.Graph) -> tuple[str, ...]:
    """The nodes that stay float where only the wide pointwise convs behind a depthwise one multiply integers."""
    return tuple(str(node.name) for node in graph if not _multiplies_most(node))


def _multiplies_most(node: ir.Node) -> bool:
    if node.op_type != "Conv" or not edit.is_pointwise(node) or min(edit.weight(node, 1).shape[:2]) < WIDE:
        return False
    source = edit.producer(node.inputs[0], "Conv")
    return source is not None and edit.is_depthwise(source)


def _groups(graph: ir.Graph, integer: set[str], *, results: bool) -> dict[str, str]:
    owner: dict[str, str] = {}

    def root(name: str) -> str:
        while owner[name] != name:
            name = owner[name]
        return name

    for value in [*graph.inputs, *(node.outputs[0] for node in graph)]:
        if _is_integer(value, integer, results=results) and not saturates(value, integer):
            owner[str(value.name)] = str(value.name)
    for node in graph:
        if node.name in integer and node.op_type in KEEPS_GRID:
            tied = [root(str(value.name)) for value in (*operands(node), node.outputs[0])]
            for name in tied[1:]:
                owner[root(name)] = root(tied[0])
    return {name: root(name) for name in owner}


def _is_integer(value: ir.Value, integer: set[str], *, results: bool) -> bool:
    made = value.producer()
    return (results and made is not None and made.name in integer) or any(
        use.node.name in integer for use in value.uses()
    )


def _fixed(graph: ir.Graph, integer: set[str], group: dict[str, str]) -> dict[str, Grid]:
    fixed = {}
    for node in graph:
        if node.op_type == "Sigmoid" and str(node.outputs[0].name) in group:
            fixed[group[str(node.outputs[0].name)]] = grid.SIGMOID
    # The input is an image; so is the output of the same shape. Both are bytes to an app.
    images = [*graph.inputs, *(value for value in graph.outputs if value.shape == graph.inputs[0].shape)]
    for value in images:
        if str(value.name) in group:
            fixed[group[str(value.name)]] = grid.BYTES
    for node in graph:
        offset = centre.offset_of(node, graph)
        if offset is not None and str(node.outputs[0].name) in group:
            fixed[group[str(node.outputs[0].name)]] = centre.grid_of(offset)
    return fixed


def closed(graph: ir.Graph, kept: Iterable[str]) -> tuple[str, ...]:
    """``kept``, and what only moves numbers between nodes that are float; in graph order."""
    named = set(kept)
    # Carriers may follow one another: take all of them, then drop those with an integer
    # neighbour until none is left.
    names = named | {str(node.name) for node in graph if node.op_type in KEEPS_GRID}
    while dropped := {name for name in names - named if not _among(graph.node(name), names)}:
        names -= dropped
    return tuple(str(node.name) for node in graph if node.name in names)


def _among(node: ir.Node, names: set[str]) -> bool:
    """Whether all neighbours of ``node`` are in ``names``; the graph's own inputs count as such."""
    makers = [maker for value in operands(node) if (maker := value.producer()) is not None]
    return {str(other.name) for other in (*makers, *(use.node for use in node.outputs[0].uses()))} <= names
