"""An enrolment graph without the IR: nodes, the shapes of what flows between them, and what is stored.

It can be described in JSON, all but its numbers, and made again from that: the C follows from the description.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

Shape = tuple[int, int, int, int]  # [N, C, H, W]
STORED = {"float": "float32", "half": "float16", "code": "int8"}
PAYLOADS = {"float": "float32", "rounded": "float32", "half": "float16", "code": "int8"}


@dataclass(frozen=True)
class Constant:
    """What the weights hold."""

    shape: Shape  # of a bias [1, O, 1, 1]; of one number [1, 1, 1, 1]
    stored: str = "float"  # one of STORED
    values: np.ndarray | None = None  # of that type and shape; None in a graph that was described
    scale: np.ndarray | None = None  # float32 [N], of codes

    @property
    def numbers(self) -> np.ndarray:
        """The values [N, C, H, W]; zeros where there are none."""
        return np.zeros(self.shape, STORED[self.stored]) if self.values is None else self.values

    @property
    def scales(self) -> np.ndarray:
        """Float32 [N], more than 0; ones where there are none."""
        return np.ones(self.shape[0], np.float32) if self.scale is None else self.scale


@dataclass(frozen=True)
class Node:
    """One operator."""

    kind: str  # one of ``operators.SHAPES``
    name: str
    inputs: tuple[str, ...]  # of values or constants
    output: str
    size: int = 1  # of a kernel, either side
    stride: int = 1
    pad: int = 0
    group: int = 1


@dataclass(frozen=True)
class Part:
    """One tensor of the payload."""

    value: str
    axes: tuple[int, ...]  # of the value [N, C, H, W], in the order in which they lie


@dataclass(frozen=True)
class Graph:
    """Nodes in order, from the crop to the payload."""

    crop: str
    size: int  # of the crop, either side
    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant]
    parts: tuple[Part, ...]
    payload: str  # one of PAYLOADS: what its numbers are
    shapes: Mapping[str, Shape] = field(default_factory=dict)  # of everything, see ``operators.shaped``

    @property
    def count(self) -> int:
        """Numbers in the payload."""
        return sum(prod(self.shapes[part.value]) for part in self.parts)


def describe(graph: Graph) -> dict[str, Any]:
    """All of it but numbers and what follows, for JSON."""
    return {
        "crop": graph.crop,
        "size": graph.size,
        "payload": graph.payload,
        "parts": [[part.value, list(part.axes)] for part in graph.parts],
        "constants": {name: [held.stored, list(held.shape)] for name, held in graph.constants.items()},
        "nodes": [
            [node.kind, node.name, list(node.inputs), node.output, node.size, node.stride, node.pad, node.group]
            for node in graph.nodes
        ],
    }


def blank(held: Mapping[str, Any]) -> Graph:
    """The graph that was described, without its numbers and shapes; only types are looked at.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is no description.
    """
    constants = {_text(name): Constant(_shape(shape), _text(kind)) for name, (kind, shape) in held["constants"].items()}
    nodes = tuple(
        Node(_text(kind), _text(name), tuple(map(_text, inputs)), _text(output), *map(_whole, rest))
        for kind, name, inputs, output, *rest in held["nodes"]
    )
    parts = tuple(Part(_text(value), tuple(map(_whole, axes))) for value, axes in held["parts"])
    return Graph(_text(held["crop"]), _whole(held["size"]), nodes, constants, parts, _text(held["payload"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r:.40} is no whole number")
    return value


def _shape(values: Any) -> Shape:
    n, c, h, w = map(_whole, values)
    return n, c, h, w
