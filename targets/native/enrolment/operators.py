"""The operators that the C has: what each makes of the shapes that it reads, and what it refuses.

A graph is one of a model or one that a stranger described; either is looked at here before anything is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod

from .graph import PAYLOADS, STORED, Graph, Node, Shape

TEXT = re.compile(r"[A-Za-z0-9_./:+-]{1,200}")  # ends no comment and no string, begins no line
MOST_NODES = 10_000
MOST_NUMBERS = 2**27  # of all constants; of all that flows
MOST_PIXELS = 4096  # of a side
MOST_SIZE = 64  # of a kernel

Shaper = Callable[[Node, Sequence[Shape]], Shape]
BROADCAST = ("add", "sub", "mul", "div", "leaky")
SINGLE = ("sigmoid", "sqrt")
EACH = (*BROADCAST, *SINGLE)  # numbers one by one


def shaped(graph: Graph) -> Graph:
    """``graph`` with the shapes of everything.

    Raises:
        ValueError: it is not one that the C can compute; says why.
    """
    _bounded(graph)
    shapes: dict[str, Shape] = {name: held.shape for name, held in graph.constants.items()}
    require(graph.crop not in shapes, f"{graph.crop} is there twice")
    shapes[graph.crop] = (1, 3, graph.size, graph.size)
    flowing = 0
    for node in graph.nodes:
        require(node.kind in SHAPES, f"node {node.name}: there is no operator {node.kind!r}")
        require(node.output not in shapes, f"node {node.name}: {node.output} is there twice")
        missing = [name for name in node.inputs if name not in shapes]
        require(not missing, f"node {node.name} reads {missing[:1]}, which nothing before it gives")
        plain = node.kind == "conv" and node.pad == 0
        require(
            plain or graph.crop not in node.inputs,
            f"node {node.name}: only a convolution without border reads the crop",
        )
        _constant_where_needed(graph, node)
        shapes[node.output] = SHAPES[node.kind](node, [shapes[name] for name in node.inputs])
        flowing += prod(shapes[node.output])
        require(flowing <= MOST_NUMBERS, "more flows than any such network has")
    for part in graph.parts:
        made = part.value in shapes and part.value not in graph.constants and part.value != graph.crop
        require(made, f"the payload's {part.value} is not computed")
        require(sorted(part.axes) == [0, 1, 2, 3], f"the payload's {part.value} has no axes {part.axes}")
    return replace(graph, shapes=shapes)


def _bounded(graph: Graph) -> None:
    """What is printed is harmless, and nothing is larger than any such network's."""
    names = {graph.crop, *graph.constants, *(name for node in graph.nodes for name in (node.name, node.output))}
    wrong = sorted(name for name in names if not TEXT.fullmatch(name))
    require(not wrong, f"no tensor or node is called {wrong[:1]}")
    require(len(graph.nodes) <= MOST_NODES and len(graph.constants) <= MOST_NODES, "it has too many nodes")
    require(0 < len(graph.parts) <= MOST_NODES and graph.payload in PAYLOADS, f"no payload is {graph.payload!r}")
    require(2 <= graph.size <= MOST_PIXELS, f"no crop has {graph.size} pixels")
    for name, held in graph.constants.items():
        sound = held.stored in STORED and all(0 < n <= MOST_NUMBERS for n in held.shape)
        require(sound, f"constant {name} is {held.stored} {held.shape}")
    require(sum(prod(held.shape) for held in graph.constants.values()) <= MOST_NUMBERS, "its weights are too many")


def _constant_where_needed(graph: Graph, node: Node) -> None:
    weights = {"conv": (1, 2), "grouped": (1,), "leaky": (1,)}.get(node.kind, ())
    for slot, name in enumerate(node.inputs):
        held = graph.constants.get(name)
        if slot in weights:
            require(held is not None, f"node {node.name}: its input {name} is not a constant")
        elif node.kind not in EACH:
            require(held is None, f"node {node.name}: its input {name} is a constant")
        kinds = STORED if (node.kind, slot) in (("conv", 1), ("grouped", 1)) else ("float",)
        require(held is None or held.stored in kinds, f"node {node.name}: its input {name} is not stored in float32")


def _conv(node: Node, given: Sequence[Shape]) -> Shape:
    (n, c, h, w), (outputs, inputs, *sides), bias = _exactly(node, given, 3)
    require(sides == [node.size, node.size] and inputs == c, f"node {node.name}: its weight does not fit {c} channels")
    require(bias == (1, outputs, 1, 1), f"node {node.name}: its bias is {bias}, not of {outputs} outputs")
    require(
        1 <= node.size <= MOST_SIZE and 1 <= node.stride <= node.size + 3, f"node {node.name}: its kernel is too large"
    )
    require(0 <= node.pad < max(node.size, 1), f"node {node.name}: it is padded by {node.pad}")
    plain = (node.size, node.stride, node.pad) == (1, 1, 0)
    require(n == 1 or plain, f"node {node.name}: of several pictures only products of channels are computed")
    high, wide = ((side + 2 * node.pad - node.size) // node.stride + 1 for side in (h, w))
    require(min(high, wide) >= 1, f"node {node.name}: its kernel is larger than what it reads")
    return n, outputs, high, wide


def _grouped(node: Node, given: Sequence[Shape]) -> Shape:
    """One kernel after the other over all of a channel's map."""
    (n, c, h, w), (outputs, inputs, *sides) = _exactly(node, given, 2)
    whole = n == 1 and [h, w] == sides and inputs == 1 and (node.stride, node.pad) == (1, 0)
    require(
        whole and node.group == c and outputs % c == 0,
        f"node {node.name}: of convolutions in groups only kernels as large as what they read, of one channel each, "
        "are computed",
    )
    return 1, outputs, 1, 1


def _maxpool(node: Node, given: Sequence[Shape]) -> Shape:
    ((n, c, h, w),) = _exactly(node, given, 1)
    require(
        n == 1 and node.pad == 0 and 1 <= node.size <= min(h, w, MOST_SIZE) and 1 <= node.stride <= MOST_SIZE,
        f"node {node.name}: no such pooling is computed",
    )
    return 1, c, (h - node.size) // node.stride + 1, (w - node.size) // node.stride + 1


def _mean(node: Node, given: Sequence[Shape]) -> Shape:
    ((n, c, _, _),) = _exactly(node, given, 1)
    require(n == 1, f"node {node.name}: means of several pictures are not computed")
    return 1, c, 1, 1


def _joined(node: Node, given: Sequence[Shape]) -> Shape:
    require(2 <= len(given) <= 16, f"node {node.name}: it joins {len(given)} tensors")
    (n, _, h, w), *_ = given
    require(all((a, y, x) == (n, h, w) for a, _, y, x in given), f"node {node.name}: what it joins differs in size")
    return n, sum(shape[1] for shape in given), h, w


def _each(node: Node, given: Sequence[Shape]) -> Shape:
    wanted = 2 if node.kind in BROADCAST else 1
    n, c, h, w = (max(sizes) for sizes in zip(*_exactly(node, given, wanted), strict=True))
    for a, b, y, x in given:
        fits = b in (1, c) and x in (1, w) and (a, y) in ((n, h), (1, 1)) and (n == 1 or h == 1)
        require(fits, f"node {node.name}: {(a, b, y, x)} is not spread over {(n, c, h, w)}")
    slope = node.kind != "leaky" or given[1] == (1, 1, 1, 1)
    require(slope, f"node {node.name}: it has several slopes")
    return n, c, h, w


def _exactly(node: Node, given: Sequence[Shape], count: int) -> Sequence[Shape]:
    require(len(given) == count, f"node {node.name}: it reads {len(given)} tensors, not {count}")
    return given


SHAPES: Mapping[str, Shaper] = {
    "conv": _conv, "grouped": _grouped, "maxpool": _maxpool, "mean": _mean, "join": _joined,
    **dict.fromkeys(EACH, _each),
}  # fmt: skip


def require(held: bool, why: str) -> None:
    """Raise ValueError saying ``why`` unless ``held``."""
    if not held:
        raise ValueError(why)
