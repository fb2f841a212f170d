"""Which nodes stay float in ``int8-mixed``.

By default those whose rounding costs most for their multiply-accumulates (15 % of them): the
first depthwise conv, everything behind the decoder and the blend, because their rounding is
the picture's; the deepest encoder stages and what reads them, because both outputs hang on
their few pixels.

For a wanted PSNR they are searched. Each unit of nodes does damage in two places, its inside
(weights and pre-activations) and its output, measured one at a time. Damages add up; a unit's
inside is spared if the unit is float, its output if those that read it are, too. The cheapest
units stay float until what is left is small enough.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from mfs_edge.base.fidelity import Outputs
from mfs_edge.graph import edit
from mfs_edge.quantize import layout as layouts
from mfs_edge.quantize import qdq, recipe
from mfs_edge.quantize.calibration import evenly
from mfs_edge.quantize.draft import Draft
from mfs_edge.quantize.execute import Errors, outputs, squared_errors
from mfs_edge.quantize.layout import Layout
from mfs_edge.quantize.weights import Codes

DEFAULT = (
    *("tail.", "blend.", "mask.5."),
    *("normalise.", "image.", "encoder.0.", "encoder.2.pointwise", "encoder.2.leaky", "encoder.3.", "encoder.4."),
    *("mask.0.depthwise", "decoder.0.depthwise", "decoder.1.depthwise"),
)
ACTIVATIONS = ("LeakyRelu", "Relu", "Sigmoid")
BLEND = ("Sub", "Mul", "Add")
RANKED_ON = 4  # pictures
ROUNDS = 6
MARGIN_DB = 0.3  # held-out pictures fare a little worse than calibration pictures


@dataclass(frozen=True)
class Unit:
    """Nodes that stay float together: a conv and its activation, or the blend."""

    nodes: tuple[str, ...]
    readers: frozenset[int]  # numbers of the units that read its output, through carriers
    macs: int
    inside: Errors  # mean squared error per output with only its inside quantised
    output: Errors  # ... with only what it hands on quantised, to where it is read


def default(model: ir.Model) -> tuple[str, ...]:
    """The nodes that stay float unless others are named or searched."""
    kept = [str(node.name) for node in model.graph if str(node.name).startswith(DEFAULT)]
    makers = [output.producer() for output in model.graph.outputs]
    return layouts.closed(model.graph, [*kept, *(str(maker.name) for maker in makers if maker is not None)])


def searched(draft: Draft, min_psnr: float) -> tuple[str, ...]:
    """The nodes of ``draft``, yet without any step, that must stay float to reach ``min_psnr``, by measurement."""
    prepared = recipe.run(draft, recipe.between("centre", "layout"))
    few = [draft.pictures[i] for i in evenly(len(draft.pictures), RANKED_ON)]
    expected = outputs(prepared.model, few)
    ranked = rank(recipe.run(prepared, recipe.between("layout", "bias")), few, expected)

    def build(kept: tuple[str, ...]) -> ir.Model:
        return recipe.run(replace(prepared, float_nodes=kept), recipe.between("layout")).model

    return whole(draft.model, prepared.model, search(ranked, build, min_psnr, few, expected))


def rank(draft: Draft, pictures: Sequence[np.ndarray], expected: Sequence[Outputs]) -> list[Unit]:
    """Every unit with its measured damage, in graph order.

    Args:
        draft: float, equalised, with grids and codes for all of it.
        pictures: float32 [1, 3, S, S] each.
        expected: what the float graph makes of them.
    """
    groups = units(draft.model.graph)
    number = {node: i for i, nodes in enumerate(groups) for node in nodes}
    found = []
    for nodes in groups:
        codes = {str(node.name): draft.codes[str(node.name)] for node in nodes if node.op_type == "Conv"}
        handed, readers = _handed_on(nodes[-1])
        within = [str(node.outputs[0].name) for node in nodes[:-1]]
        damage = [
            squared_errors(_partly(draft, names, rounded), pictures, expected)
            for names, rounded in ((within, codes), (handed, {}))
        ]
        read_by = frozenset(number[reader] for reader in readers)
        found.append(Unit(tuple(str(n.name) for n in nodes), read_by, sum(map(macs, nodes)), *damage))
    return found


def search(
    ranked: Sequence[Unit],
    build: Callable[[tuple[str, ...]], ir.Model],
    min_psnr: float,
    pictures: Sequence[np.ndarray],
    expected: Sequence[Outputs],
) -> tuple[str, ...]:
    """The float nodes with the fewest MACs that reach ``min_psnr`` on every output.

    Args:
        ranked: from :func:`rank`.
        build: the quantised graph for a choice of float nodes.
        min_psnr: dB, of each output's mean over pictures.
        pictures: to measure on, float32 [1, 3, S, S] each.
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
    kept: set[int] = set()
    while not _enough(left := remaining(ranked, kept), allowed) and len(kept) < len(ranked):
        gains = {move: _benefit(ranked, kept, move, left, allowed) for move in _moves(ranked, kept)}
        best: frozenset[int] = max(gains, key=gains.__getitem__)
        kept |= best
    for number in sorted(kept, key=lambda number: -ranked[number].macs):
        if _enough(remaining(ranked, kept - {number}), allowed):
            kept.remove(number)
    return tuple(name for number in sorted(kept) for name in ranked[number].nodes)


def remaining(ranked: Sequence[Unit], kept: Collection[int]) -> Errors:
    """The summed damage with the ``kept`` units in float."""
    total = dict.fromkeys(ranked[0].inside, 0.0)
    for number, unit in enumerate(ranked):
        for name in total:
            if number not in kept:
                total[name] += unit.inside[name]
            if number not in kept or not unit.readers <= set(kept):
                total[name] += unit.output[name]
    return total


def _moves(ranked: Sequence[Unit], kept: set[int]) -> list[frozenset[int]]:
    """Units to add: one alone, or with those that read it, or with those that it reads."""
    moves: set[frozenset[int]] = set()
    for number, unit in enumerate(ranked):
        read = {other for other, candidate in enumerate(ranked) if number in candidate.readers}
        moves |= {frozenset(({number} | set(more)) - kept) for more in ((), unit.readers, read)}
    return sorted((move for move in moves if move), key=sorted)


def _benefit(
    ranked: Sequence[Unit], kept: set[int], move: frozenset[int], left: Errors, allowed: Mapping[str, float]
) -> float:
    after = remaining(ranked, kept | move)
    gaps = {name: left[name] - allowed[name] for name in allowed if left[name] > allowed[name]}
    spared = sum(min(left[name] - after[name], gap) / gap for name, gap in gaps.items())
    return spared / (1 + sum(ranked[number].macs for number in move))


def _enough(left: Errors, allowed: Mapping[str, float]) -> bool:
    return all(left[name] <= allowed[name] for name in allowed)


def units(graph: ir.Graph) -> list[list[ir.Node]]:
    """Nodes in groups that make sense together, in graph order: each conv's, and the blend."""
    blend = [node for node in graph if node.op_type in BLEND and len(layouts.operands(node)) == 2]
    found = []
    for node in graph:
        if node.op_type == "Conv":
            found.append(_chain(node))
        elif blend and node is blend[0]:
            found.append(blend)
    return found


def whole(model: ir.Model, prepared: ir.Model, kept: Collection[str]) -> tuple[str, ...]:
    """All nodes of ``model`` that stand behind the ``kept`` ones of ``prepared``, a rewritten copy of it.

    Whole units, and what the copy has merged into a kept node.
    """
    found = {str(n.name) for nodes in units(model.graph) if any(n.name in kept for n in nodes) for n in nodes}
    left = {str(node.name) for node in prepared.graph}
    for node in reversed(list(model.graph)):
        reader = edit.only_consumer(node.outputs[0])
        if node.name not in left and reader is not None and reader.name in found:
            found.add(str(node.name))
    return layouts.closed(model.graph, found)


def _chain(conv: ir.Node) -> list[ir.Node]:
    """``conv``, its image's centring before it, and what alone follows it, up to its activation."""
    before = edit.producer(conv.inputs[0], "Sub")
    chain = [conv] if before is None else [before, conv]
    node = edit.only_consumer(conv.outputs[0])
    while node is not None and node.op_type == "Resize":
        chain.append(node)
        node = edit.only_consumer(node.outputs[0])
    return [*chain, node] if node is not None and node.op_type in ACTIVATIONS else chain[: chain.index(conv) + 1]


def _handed_on(last: ir.Node) -> tuple[list[str], list[ir.Node]]:
    """The tensors that carry ``last``'s result to its readers, and the readers."""
    tensors, readers = [str(last.outputs[0].name)], []
    for use in last.outputs[0].uses():
        if use.node.op_type in layouts.KEEPS_GRID:
            more, found = _handed_on(use.node)
            tensors += more
            readers += found
        else:
            readers.append(use.node)
    return list(dict.fromkeys(tensors)), readers


def _partly(draft: Draft, tensors: Collection[str], codes: Mapping[str, Codes]) -> ir.Model:
    """The draft's graph with only these tensors, and the weights of these convs, rounded."""
    group = {name: owner for name, owner in draft.layout.group.items() if name in tensors}
    layout = Layout(draft.layout.integer, group, draft.layout.fixed)
    return qdq.insert(draft.model, layout, draft.grids, codes)


def macs(node: ir.Node) -> int:
    """Multiply-accumulates of one node; only convs have any that count."""
    if node.op_type != "Conv" or node.outputs[0].shape is None:
        return 0
    _, _, height, width = (int(str(dim)) for dim in node.outputs[0].shape)
    return int(edit.weight(node, 1).size) * height * width
