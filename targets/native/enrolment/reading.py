"""The IR's graph as the few operators that the C has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import LoweringError
from mfs_edge.graph import edit

from .graph import STORED, Constant, Graph, Node, Part, Shape
from .operators import shaped
from .stages import ONE

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = {
    "Conv": "conv", "LeakyRelu": "leaky", "MaxPool": "maxpool", "GlobalAveragePool": "mean", "Concat": "join",
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Sigmoid": "sigmoid", "Sqrt": "sqrt",
}  # fmt: skip
KINDS = {np.dtype(dtype): kind for kind, dtype in STORED.items()}
ROUNDINGS = {("FLOAT16",): "half", ("FLOAT16", "FLOAT"): "rounded", ("INT8",): "code", (): "float"}


def read(model: ir.Model) -> Graph:
    """The graph of ``model``, checked.

    Raises:
        LoweringError: a node has no place in the C; names it and its operator.
    """
    reader = _Reader(model.graph)
    found = reader.graph()
    try:
        return shaped(found)
    except ValueError as error:
        raise LoweringError(f"target c does not compute such an enrolment: {error}") from error


class _Reader:
    """Collects nodes and constants."""

    def __init__(self, graph: ir.Graph) -> None:
        self.source = graph
        self.constants: dict[str, Constant] = {ONE: _number(1.0)}
        self.nodes: list[Node] = []

    def graph(self) -> Graph:
        (crop,), (end,) = self.source.inputs, self.source.outputs
        size = crop.shape[2] if crop.shape is not None and len(crop.shape) == 4 else 0
        join, payload = _payload(end)
        parts = tuple(self._part(join, value) for value in join.inputs)
        skipped = {id(node) for node in _behind(join, parts_of=True)}
        for node in self.source:
            if id(node) not in skipped and node.op_type not in ("Cast", "DequantizeLinear"):
                self._add(node)
            elif id(node) not in skipped:
                _require_weight(node)
        return Graph(
            str(crop.name), int(size) if isinstance(size, int) else 0, tuple(self.nodes), self.constants, parts, payload
        )

    def _add(self, node: ir.Node) -> None:
        kind = NAMES.get(node.op_type)
        if kind is None or len(node.outputs) != 1:
            raise LoweringError(f"node {node.name}: target c has no {node.op_type} in an enrolment")
        inputs = [self._input(node, slot) for slot in range(len(node.inputs))]
        ADD.get(node.op_type, _Reader._plain)(self, node, kind, inputs)

    def _plain(self, node: ir.Node, kind: str, inputs: list[str]) -> None:
        self._keep(node, kind, inputs)

    def _conv(self, node: ir.Node, kind: str, inputs: list[str]) -> None:
        group, weight = edit.group(node), self.constants.get(inputs[1])
        if weight is None:
            raise LoweringError(f"node {node.name} (Conv): its weight is not stored in the graph")
        if group > 1:
            self._keep(node, "grouped", inputs, group=group, **_geometry(node))
            return
        if len(inputs) < 3:
            inputs.append(f"{node.name}.bias")
            shape = (1, weight.shape[0], 1, 1)
            self.constants[inputs[2]] = Constant(shape, values=np.zeros(shape, np.float32))
        self._keep(node, kind, inputs, **_geometry(node))

    def _leaky(self, node: ir.Node, kind: str, inputs: list[str]) -> None:
        slope = f"{node.name}.slope"
        found = node.attributes.get("alpha")
        self.constants[slope] = _number(found.as_float() if found is not None else 0.01)
        self._keep(node, kind, [*inputs, slope])

    def _maxpool(self, node: ir.Node, kind: str, inputs: list[str]) -> None:
        ceiling = node.attributes.get("ceil_mode")
        if ceiling is not None and ceiling.as_int():
            raise LoweringError(f"node {node.name} (MaxPool): target c rounds its size down only")
        self._keep(node, kind, inputs, **_geometry(node))

    def _concat(self, node: ir.Node, kind: str, inputs: list[str]) -> None:
        if node.attributes["axis"].as_int() != 1:
            raise LoweringError(f"node {node.name} (Concat): target c joins channels only")
        self._keep(node, kind, inputs)

    def _keep(self, node: ir.Node, kind: str, inputs: list[str], **geometry: int) -> None:
        self.nodes.append(Node(kind, str(node.name), tuple(inputs), str(node.outputs[0].name), **geometry))

    def _input(self, node: ir.Node, slot: int) -> str:
        value = node.inputs[slot]
        if value is None:
            raise LoweringError(f"node {node.name} ({node.op_type}): its input {slot} is missing")
        name = str(value.name)
        if name not in self.constants and (held := _stored(value)) is not None:
            self.constants[name] = held
        return name

    def _part(self, join: ir.Node, value: ir.Value | None) -> Part:
        """Through the Reshape, and the Transpose before it."""
        flat = edit.producer(value, "Reshape")
        inner = flat.inputs[0] if flat is not None else None
        if flat is None or inner is None or value is None or value.shape is None or len(value.shape) != 1:
            raise LoweringError(f"node {join.name} (Concat): target c lays out flat tensors only")
        turned = edit.producer(inner, "Transpose")
        if turned is None or turned.inputs[0] is None:
            return Part(str(inner.name), (0, 1, 2, 3))
        return Part(str(turned.inputs[0].name), tuple(edit.integers(turned, "perm")))


ADD: dict[str, Callable[[_Reader, ir.Node, str, list[str]], None]] = {
    "Conv": _Reader._conv, "LeakyRelu": _Reader._leaky, "MaxPool": _Reader._maxpool, "Concat": _Reader._concat,
}  # fmt: skip


def _payload(end: ir.Value) -> tuple[ir.Node, str]:
    """The Concat of all numbers, and what they are rounded to behind it."""
    types: list[str] = []
    node = end.producer()
    while node is not None and node.op_type in ("Cast", "QuantizeLinear") and node.inputs[0] is not None:
        types.insert(0, _rounded_to(node))
        node = node.inputs[0].producer()
    if node is None or node.op_type != "Concat" or tuple(types) not in ROUNDINGS:
        raise LoweringError(f"output {end.name}: is not a Concat of tensors that target c rounds so")
    return node, ROUNDINGS[tuple(types)]


def _rounded_to(node: ir.Node) -> str:
    if node.op_type == "Cast":
        return ir.DataType(node.attributes["to"].as_int()).name
    step, zero = (edit.constant(value) for value in (node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None))
    if step is None or zero is None or step.size != 1 or step.item() != 1 or zero.dtype != np.int8 or zero.item():
        raise LoweringError(f"node {node.name} (QuantizeLinear): target c rounds to int8 in steps of one only")
    return "INT8"


def _behind(join: ir.Node, *, parts_of: bool) -> Iterator[ir.Node]:
    """``join``, what rounds it, and what lays out its parts."""
    yield join
    if parts_of:
        for value in join.inputs:
            node = value.producer() if value is not None else None
            while node is not None and node.op_type in ("Reshape", "Transpose"):
                yield node
                node = node.inputs[0].producer() if node.inputs[0] is not None else None
    for use in list(join.outputs[0].uses()):
        yield from _behind(use.node, parts_of=False)


def _geometry(node: ir.Node) -> dict[str, int]:
    """Kernel, stride and border, where they are the same on either side and axis.

    Raises:
        LoweringError: they are not.
    """
    size = edit.integers(node, "kernel_shape")
    given = {
        "size": size,
        "stride": edit.integers(node, "strides", (1, 1)),
        "pad": edit.integers(node, "pads", (0, 0, 0, 0)),
    }
    automatic = node.attributes.get("auto_pad")
    even = all(len(set(values)) == 1 for values in given.values())
    if not even or set(edit.integers(node, "dilations", (1,))) != {1}:
        raise LoweringError(f"node {node.name} ({node.op_type}): target c computes square kernels without gaps only")
    if automatic is not None and automatic.as_string() not in ("NOTSET", ""):
        raise LoweringError(f"node {node.name} ({node.op_type}): target c takes borders from pads only")
    return {name: int(values[0]) for name, values in given.items()}


def _number(value: float) -> Constant:
    return Constant((1, 1, 1, 1), values=np.full((1, 1, 1, 1), value, np.float32))


def _stored(value: ir.Value) -> Constant | None:
    """What ``value`` holds, if the graph stores it; as it is stored."""
    held, scale = edit.constant(value), None
    node = value.producer()
    if held is None and node is not None and node.op_type == "Cast":
        held = edit.constant(node.inputs[0])
    elif held is None and node is not None and node.op_type == "DequantizeLinear":
        held, scale = edit.constant(node.inputs[0]), edit.constant(node.inputs[1])
    if held is None:
        return None
    if held.dtype not in KINDS or held.ndim not in (0, 1, 4):
        raise LoweringError(f"tensor {value.name}: target c stores no {held.dtype} of {held.ndim} axes")
    one, c = (1, held.size) if held.ndim == 1 else (1, 1)
    shape: Shape = held.shape if held.ndim == 4 else (one, c, 1, 1)
    numbers = None if scale is None else np.broadcast_to(scale.astype(np.float32).ravel(), (shape[0],))
    return Constant(shape, KINDS[held.dtype], held.reshape(shape), numbers)


def _require_weight(node: ir.Node) -> None:
    """What is decoded must be a stored weight, its codes without zero point."""
    zero = edit.constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(1)
    if edit.constant(node.inputs[0]) is None or zero is None or np.any(zero):
        raise LoweringError(f"node {node.name}: target c has no {node.op_type} in an enrolment but of stored weights")
