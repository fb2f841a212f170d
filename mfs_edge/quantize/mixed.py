"""Which nodes stay float in ``int8-mixed``.

By default those whose rounding is the picture's: the first depthwise conv (48 weights that
see every pixel), everything behind the decoder, and the blend. For a wanted PSNR they are
searched: each unit of nodes is quantised alone and its damage measured, and the cheapest
units in multiply-accumulates stay float until the rest, whose damages add up, is small enough.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.quantize import layout as layouts
from mfs_edge.quantize import qdq, weights
from mfs_edge.quantize.execute import Errors, squared_errors
from mfs_edge.quantize.grid import Grid

DEFAULT_PREFIXES = ("tail.", "blend.")
ACTIVATIONS = ("LeakyRelu", "Relu", "Sigmoid")
BLEND = ("Sub", "Mul", "Add")
RANKED_ON = 4  # pictures
ROUNDS = 6
MARGIN_DB = 0.3  # held-out pictures fare a little worse than calibration pictures

Result = Callable[[Collection[str]], ir.Model]


@dataclass(frozen=True)
class Unit:
    """Nodes that stay float together: a conv and its activation, or the blend."""

    nodes: tuple[str, ...]
    macs: int
    damage: Errors  # mean squared error per output with only this unit quantised


def default(model: ir.Model) -> tuple[str, ...]:
    """The nodes that stay float unless others are named or searched."""
    first = next(node for node in model.graph if node.op_type == "Conv")
    kept = [str(node.name) for node in model.graph if str(node.name).startswith(DEFAULT_PREFIXES)]
    kept += [str(output.producer().name) for output in model.graph.outputs if output.producer() is not None]  # type: ignore[union-attr]
    return tuple(dict.fromkeys([*_with_neighbours(model.graph, [first]), *kept]))


def rank(
    model: ir.Model, grids: Mapping[str, Grid], pictures: Sequence[np.ndarray], expected: Sequence[dict[str, np.ndarray]]
) -> list[Unit]:
    """Every unit with its measured damage.

    Args:
        model: float32, equalised.
        grids: per integer tensor with everything quantised.
        pictures: float32 [1, 3, S, S] each.
        expected: what the float graph makes of them.
    """
    found = []
    for nodes in units(model.graph):
        names = [str(node.name) for node in nodes]
        everything = {str(node.name) for node in model.graph}
        alone = _quantised(model, everything - set(names), grids)
        found.append(Unit(tuple(names), sum(map(macs, nodes)), squared_errors(alone, pictures, expected)))
    return found


def search(
    ranked: Sequence[Unit],
    build: Result,
    min_psnr: float,
    pictures: Sequence[np.ndarray],
    expected: Sequence[dict[str, np.ndarray]],
) -> tuple[str, ...]:
    """The float nodes with the fewest MACs that reach ``min_psnr`` on every output.

    Args:
        ranked: from :func:`rank`.
        build: the quantised graph for a choice of float nodes.
        min_psnr: dB, of each output's mean over pictures.
        pictures: to measure on.
        expected: what the float graph makes of them.
    """
    limit = 10 ** (-(min_psnr + MARGIN_DB) / 10)
    allowed = dict.fromkeys(expected[0], limit)
    for _ in range(ROUNDS):
        kept = cheapest(ranked, allowed)
        measured = squared_errors(build(kept), pictures, expected)
        excess = {name: measured[name] / limit for name in allowed}
        if max(excess.values()) <= 1:
            return kept
        # The damages do not quite add up: ask for that much less.
        allowed = {name: allowed[name] / max(1.0, excess[name] * 1.1) for name in allowed}
    return tuple(name for unit in ranked for name in unit.nodes)


def cheapest(ranked: Sequence[Unit], allowed: Mapping[str, float]) -> tuple[str, ...]:
    """The units to keep float so that the others' damages sum to at most ``allowed``.

    Greedy by damage spared per MAC, where damage counts in units of what is too much; then
    whatever turned out needless is given back, the most expensive first.
    """
    kept: list[Unit] = []
    rest = list(ranked)

    def missing(units: Sequence[Unit]) -> dict[str, float]:
        return {name: sum(unit.damage[name] for unit in units) - limit for name, limit in allowed.items()}

    while any(value > 0 for value in missing(rest).values()):
        gap = missing(rest)
        best = max(rest, key=lambda unit: _benefit(unit, gap))
        rest.remove(best)
        kept.append(best)
    for unit in sorted(kept, key=lambda unit: -unit.macs):
        if all(value <= 0 for value in missing([*rest, unit]).values()):
            kept.remove(unit)
            rest.append(unit)
    return tuple(name for unit in kept for name in unit.nodes)


def _benefit(unit: Unit, gap: Mapping[str, float]) -> float:
    spared = sum(min(unit.damage[name], value) / value for name, value in gap.items() if value > 0)
    return spared / (1 + unit.macs)


def units(graph: ir.Graph) -> Iterator[list[ir.Node]]:
    """Nodes in groups that make sense together, in graph order."""
    blend = [node for node in graph if node.op_type in BLEND]
    for node in graph:
        if node.op_type == "Conv":
            yield _chain(node)
        elif blend and node is blend[0]:
            yield blend


def closed(graph: ir.Graph, kept: Collection[str]) -> tuple[str, ...]:
    """``kept``, and what only moves numbers between nodes that are float."""
    names = set(kept)
    nodes = list(graph)
    for node in [*nodes, *reversed(nodes)]:
        if node.op_type not in layouts.KEEPS_GRID or node.name in names:
            continue
        makers = [value.producer() for value in layouts.operands(node)]
        readers = [use.node for use in node.outputs[0].uses()]
        if all(maker is None or maker.name in names for maker in makers) and all(r.name in names for r in readers):
            names.add(str(node.name))
    return tuple(str(node.name) for node in nodes if node.name in names)


def _chain(conv: ir.Node) -> list[ir.Node]:
    """``conv`` and what follows it alone, up to its activation."""
    chain = [conv]
    node = edit.only_consumer(conv.outputs[0])
    while node is not None and node.op_type == "Resize":
        chain.append(node)
        node = edit.only_consumer(node.outputs[0])
    if node is not None and node.op_type in ACTIVATIONS:
        return [*chain, node]
    if conv.outputs[0].uses() and conv.outputs[0].uses()[0].node.op_type in ACTIVATIONS:
        return [conv, conv.outputs[0].uses()[0].node]
    return [conv]


def _with_neighbours(graph: ir.Graph, nodes: Sequence[ir.Node]) -> tuple[str, ...]:
    return closed(graph, [str(node.name) for node in nodes])


def _quantised(model: ir.Model, float_nodes: Collection[str], grids: Mapping[str, Grid]) -> ir.Model:
    """``model`` with only the other nodes on integers, weights rounded to nearest."""
    where = layouts.find(model, float_nodes)
    chosen = {group: grids[group] for group in where.groups}
    codes = {}
    for conv in edit.of_type(model.graph, "Conv"):
        if conv.name in where.integer:
            scale = chosen[where.group[str(layouts.operands(conv)[0].name)]].scale
            codes[str(conv.name)] = weights.quantise(edit.weight(conv, 1), edit.conv_bias(conv), scale)
    return qdq.insert(model, where, chosen, codes)


def macs(node: ir.Node) -> int:
    """Multiply-accumulates of one node; only convs have any that count."""
    if node.op_type != "Conv" or node.outputs[0].shape is None:
        return 0
    _, _, height, width = (int(str(dim)) for dim in node.outputs[0].shape)
    return int(edit.weight(node, 1).size) * height * width
