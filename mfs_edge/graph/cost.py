"""What a graph costs, counted from the graph itself.

Four counts go by one name in the literature; here each has its own:

* ``macs``: multiply-accumulates of convolutions, nothing else;
* ``flops``: two per MAC, plus every operation of the other operators (``OPERATIONS``);
* ``paper``: MobileFaceSwap's own: MACs, one per element of a normalisation or activation,
  four per element of a bilinear upsample (AAAI 2022, section 4; 0.33 G at 224);
* bytes: weights as stored, and the peak of live activations.

Counts are for one image. A quantised tensor is counted where it is stored, in integers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mfs_edge.base.errors import InputError

if TYPE_CHECKING:
    import onnx_ir as ir

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class NodeCost:
    """One node, or one operator of a torch network."""

    name: str
    operator: str
    shape: tuple[int, ...]  # of its output
    parameters: int = 0  # trainable numbers read here first: kernels, biases, normalisation scales and shifts
    weight_bytes: int = 0  # all constants read here first
    macs: int = 0
    flops: int = 0
    paper: int = 0
    live_bytes: int = 0  # activations alive while the node runs, its inputs and output included


@dataclass(frozen=True)
class Cost:
    """A whole graph, node by node in execution order."""

    nodes: tuple[NodeCost, ...]

    @property
    def parameters(self) -> int:
        return sum(node.parameters for node in self.nodes)

    @property
    def weight_bytes(self) -> int:
        return sum(node.weight_bytes for node in self.nodes)

    @property
    def macs(self) -> int:
        return sum(node.macs for node in self.nodes)

    @property
    def flops(self) -> int:
        return sum(node.flops for node in self.nodes)

    @property
    def paper(self) -> int:
        return sum(node.paper for node in self.nodes)

    @property
    def peak_bytes(self) -> int:
        """The most activation memory alive at once, without reuse in place: a lower bound for an arena."""
        return max((node.live_bytes for node in self.nodes), default=0)

    @property
    def peak_node(self) -> str:
        """Where the peak is."""
        return max(self.nodes, key=lambda node: node.live_bytes).name if self.nodes else ""


# Operations per output element of everything that is not a convolution.
OPERATIONS = {
    "BatchNormalization": 2,
    "LeakyRelu": 1,
    "PRelu": 1,
    "Sigmoid": 1,
    "Tanh": 1,
    "Resize": 7,  # bilinear: four products, three sums
    "Add": 1,
    "Sub": 1,
    "Mul": 1,
    "Div": 1,
}
# The paper's count per output element, convolutions aside.
PAPER = {"BatchNormalization": 1, "LeakyRelu": 1, "PRelu": 1, "Sigmoid": 1, "Tanh": 1, "Resize": 4}
# Which inputs hold trained numbers. Batch-norm statistics are stored but not trained.
TRAINED = {"Conv": (1, 2), "BatchNormalization": (1, 2), "PRelu": (1,)}


def count(model: ir.Model) -> Cost:
    """Count a graph.

    Args:
        model: any graph of ours, float or quantised (QDQ); it is left as it is.

    Raises:
        InputError: a tensor's shape cannot be inferred.
    """
    graph = _with_shapes(model).graph
    seen: set[ir.Value] = set()
    nodes = []
    for node, live in zip(graph, _live_bytes(graph), strict=True):
        stored = [value for value in node.inputs if value is not None and value.const_value is not None]
        trained = [node.inputs[i] for i in TRAINED.get(node.op_type, ()) if i < len(node.inputs)]
        nodes.append(
            NodeCost(
                name=str(node.name),
                operator=node.op_type,
                shape=_shape(node.outputs[0]),
                parameters=sum(_elements(value) for value in trained if value is not None and value not in seen),
                weight_bytes=sum(_bytes(value) for value in stored if value not in seen),
                live_bytes=live,
                **_work(node),
            )
        )
        seen.update(stored, (value for value in trained if value is not None))
    return Cost(tuple(nodes))


def _work(node: ir.Node) -> dict[str, int]:
    elements = _elements(node.outputs[0])
    if node.op_type == "Conv":
        macs = elements * math.prod(_shape(node.inputs[1])[1:])
        return {"macs": macs, "flops": 2 * macs, "paper": macs}
    return {"flops": elements * OPERATIONS.get(node.op_type, 0), "paper": elements * PAPER.get(node.op_type, 0)}


def _with_shapes(model: ir.Model) -> ir.Model:
    """``model``, or a copy with shapes inferred if a file came without them."""
    if all(value.shape is not None for node in model.graph for value in node.outputs):
        return model
    from onnx_ir.passes.common import ShapeInferencePass

    return ShapeInferencePass()(model.clone()).model


def _shape(value: ir.Value | None) -> tuple[int, ...]:
    sizes = value.shape if value is not None else None
    fixed = tuple(size for size in sizes or () if isinstance(size, int))
    if sizes is None or len(fixed) != len(sizes):
        name = value.name if value is not None else "?"
        raise InputError(f"tensor {name} has no fixed shape; only a graph of one size can be counted")
    return fixed


def _elements(value: ir.Value | None) -> int:
    return math.prod(_shape(value))


def _bytes(value: ir.Value) -> int:
    if value.dtype is None:
        raise InputError(f"tensor {value.name} has no type; the file is damaged, write it again")
    return math.ceil(_elements(value) * value.dtype.bitwidth / 8)


def _live_bytes(graph: ir.Graph) -> list[int]:
    """Per node, the bytes of the activations that exist while it runs."""
    steps = [(_kept(node.inputs), _kept(node.outputs)) for node in graph]
    sizes = {value: _bytes(value) for value in graph.inputs}
    sizes |= {value: _bytes(value) for _, written in steps for value in written}
    return live_bytes(steps, sizes, inputs=graph.inputs, outputs=graph.outputs)


def _kept(values: Iterable[ir.Value | None]) -> list[ir.Value]:
    return [kept for kept in map(_storage, values) if kept is not None]


def live_bytes(
    steps: Sequence[tuple[Collection[Key], Collection[Key]]],
    sizes: Mapping[Key, int],
    *,
    inputs: Iterable[Key],
    outputs: Iterable[Key],
) -> list[int]:
    """How much is alive during each step.

    Args:
        steps: what each reads and writes, in order.
        sizes: bytes of everything written and of ``inputs``; what is absent is a constant.
        inputs: alive from the start; outputs: alive to the end.
    """
    born = dict.fromkeys(inputs, 0)
    dies = dict(born)
    for i, (read, written) in enumerate(steps):
        for key in written:
            born.setdefault(key, i)
        dies |= dict.fromkeys((key for key in (*read, *written) if key in sizes), i)
    dies |= dict.fromkeys(outputs, len(steps))
    return [sum(sizes[key] for key in born if born[key] <= i <= dies[key]) for i in range(len(steps))]


def _storage(value: ir.Value | None) -> ir.Value | None:
    """The tensor that a runtime keeps for ``value``; None for constants.

    Between a QuantizeLinear and the DequantizeLinear behind it lie the integers that are
    kept; the floats around them exist on paper only.
    """
    if value is None or _constant(value):
        return None
    node = value.producer()
    if node is None or value.is_graph_output():
        return value
    if node.op_type == "DequantizeLinear":
        return _storage(node.inputs[0])
    readers = [use.node for use in value.uses()]
    if readers and all(reader.op_type == "QuantizeLinear" for reader in readers):
        return readers[0].outputs[0]
    return value


def _constant(value: ir.Value) -> bool:
    """An initialiser, or what is computed from initialisers alone."""
    node = value.producer()
    if node is None:
        return value.const_value is not None
    return all(source is None or _constant(source) for source in node.inputs)
