"""What a graph costs, counted from its program description, whatever file that was read from.

Four counts go by one name in the literature; here each has its own:

* ``macs``: multiply-accumulates of the graph's convolutions (and matrix products), nothing else;
* ``added_macs``: products with zero that the form of a lowering adds to them (blocks of pixels
  in TFLite); a runtime does them, the graph does not ask for them;
* ``flops``: two per MAC, plus every operation of the other operators (``OPERATIONS``);
* ``paper``: MobileFaceSwap's own: MACs, one per element of a normalisation or activation,
  four per element of a bilinear upsample (AAAI 2022, section 4; 0.33 G at 224);
* bytes: weights as stored, and the peak of live activations.

Counts are for one image. A quantised tensor is counted where it is stored, in integers. What is
computed from constants alone, such as a dequantised weight, a runtime computes once: it costs
nothing here.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from mfs_edge.base.errors import InputError
from mfs_edge.program import Origins, Program, Step, Value

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
    added_macs: int = 0
    flops: int = 0
    paper: int = 0
    live_bytes: int = 0  # activations alive while the node runs, its inputs and output included


@dataclass(frozen=True)
class Cost:
    """A whole graph, node by node in execution order."""

    nodes: tuple[NodeCost, ...]
    parameters: int = field(init=False)  # these six are the nodes' sums
    weight_bytes: int = field(init=False)
    macs: int = field(init=False)
    added_macs: int = field(init=False)
    flops: int = field(init=False)
    paper: int = field(init=False)

    def __post_init__(self) -> None:
        for name in ("parameters", "weight_bytes", "macs", "added_macs", "flops", "paper"):
            object.__setattr__(self, name, sum(getattr(node, name) for node in self.nodes))

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
TRAINED: dict[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "BatchNormalization": (1, 2),
}
TRAINED |= {"PRelu": (1,), "Bias": (1,)}


def count(graph: Program | ir.Model) -> Cost:
    """Count a graph.

    Args:
        graph: what a target has read, or a model of ours, float or quantised (QDQ).

    Raises:
        InputError: a tensor's shape is not known.
    """
    if not isinstance(graph, Program):
        from mfs_edge.graph import ir_program

        graph = ir_program.program(graph)
    for name in (*graph.inputs, *(output for step in graph.steps for output in step.outputs if output)):
        if graph.values[name].shape is None:
            raise InputError(f"{graph.prefix}tensor {name} has no fixed shape; only a graph of one size can be counted")
    return _count(graph, Origins(graph))


def parameters(program: Program) -> int:
    """Trained numbers; known also where a file holds no shapes of what it computes."""
    stored = {name for names in _trained(program, Origins(program)) for name in names}
    return sum(program.values[name].elements for name in stored)


def _count(program: Program, origins: Origins) -> Cost:
    read_before: set[str] = set()
    trained_before: set[str] = set()
    nodes = []
    for step, trained, live in zip(
        program.steps, _trained(program, origins), _live_bytes(program, origins), strict=True
    ):
        read = dict.fromkeys(n for n in step.inputs if n in program.values and program.values[n].constant)
        free = all(map(origins.constant, step.outputs))
        made = next((program.values[name] for name in step.outputs if name), Value((0,), "", 0))  # a state is set
        nodes.append(
            NodeCost(
                name=step.name or next(filter(None, step.outputs), step.own),
                operator=step.own,
                shape=made.known,
                parameters=sum(program.values[name].elements for name in trained if name not in trained_before),
                weight_bytes=sum(program.values[name].bytes for name in read if name not in read_before),
                live_bytes=live,
                **({} if free else _work(step, made.elements)),
            )
        )
        read_before.update(read)
        trained_before.update(trained)
    return Cost(tuple(nodes))


def _trained(program: Program, origins: Origins) -> list[list[str]]:
    """Per step, the stored tensors of trained numbers that it reads."""
    found = []
    for step in program.steps:
        slots = [slot for slot in TRAINED.get(step.kind, ()) if slot < len(step.inputs) and step.inputs[slot]]
        found.append([stored for slot in slots if (stored := origins.stored(step.inputs[slot]))])
    return found


def _work(step: Step, elements: int) -> dict[str, int]:
    if step.multiplies:
        macs = step.multiplies * elements
        return {"macs": macs, "added_macs": step.added * elements, "flops": 2 * macs, "paper": macs}
    return {"flops": elements * OPERATIONS.get(step.kind, 0), "paper": elements * PAPER.get(step.kind, 0)}


def _live_bytes(program: Program, origins: Origins) -> list[int]:
    """Per step, the bytes of the activations that exist while it runs."""
    steps = [(_kept(step.inputs, origins), _kept(step.outputs, origins)) for step in program.steps]
    sizes = {name: program.values[name].bytes for name in program.inputs}
    sizes |= {name: program.values[name].bytes for _, written in steps for name in written}
    return live_bytes(steps, sizes, inputs=program.inputs, outputs=program.outputs)


def _kept(names: Iterable[str], origins: Origins) -> list[str]:
    return [kept for kept in map(origins.storage, filter(None, names)) if kept is not None]


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
    changes = [0] * (len(steps) + 2)
    for key, start in born.items():
        if start <= dies[key]:
            changes[start] += sizes[key]
            changes[dies[key] + 1] -= sizes[key]
    return list(itertools.accumulate(changes))[: len(steps)]
