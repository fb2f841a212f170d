"""The few edits that every pass is made of.

onnx_ir is imported by what makes something: a target that reads its own files with these needs none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The array of an initialiser, of any shape and type; None if ``value`` is computed or absent."""
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()


def weight(node: ir.Node, index: int) -> np.ndarray:
    """Input ``index`` of ``node`` in float64, of its own shape; a Conv's weight is [O, I / group, k, k].

    Raises:
        ValueError: it is not an initialiser.
    """
    array = constant(node.inputs[index])
    if array is None:
        raise ValueError(f"input {index} of {node.op_type} {node.name} is not an initialiser")
    return array.astype(np.float64)


def conv_bias(node: ir.Node) -> np.ndarray:
    """A Conv's bias in float64, zeros if it has none: [O]."""
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        return weight(node, 2)
    return np.zeros(weight(node, 1).shape[0])


def new_initialiser(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Register an initialiser, an ``array`` of any shape and type; ``name`` is made unique."""
    import onnx_ir as ir

    unique, count = name, 1
    while unique in graph.initializers:
        count += 1
        unique = f"{name}.{count}"
    tensor = ir.Tensor(np.asarray(array, order="C"), name=unique)  # ascontiguousarray would make scalars vectors
    value = ir.Value(name=unique, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def dtype_of(node: ir.Node) -> np.dtype:
    """What ``node``'s weights are stored in: float32, or float64 where exactness is judged."""
    array = constant(node.inputs[1])
    return np.dtype(np.float32) if array is None else array.dtype


def set_weight(graph: ir.Graph, node: ir.Node, index: int, array: np.ndarray) -> None:
    """Give a Conv a new weight (1) [O, I / group, k, k] or bias (2) [O], rounded once; other users keep the old one."""
    import onnx_ir as ir

    rounded = np.ascontiguousarray(array, dtype_of(node))
    old = node.inputs[index] if index < len(node.inputs) else None
    if old is not None and len(old.uses()) == 1:
        old.const_value = ir.Tensor(rounded, name=old.name)
        old.shape = ir.Shape(rounded.shape)
        return
    name = old.name if old is not None else _bias_name(node)
    if old is None:
        node.resize_inputs(index + 1)
    node.replace_input_with(index, new_initialiser(graph, str(name), rounded))


def set_initialiser(graph: ir.Graph, node: ir.Node, index: int, array: np.ndarray) -> None:
    """Give input ``index`` of ``node`` another initialiser, of any shape and type; other users keep the old one."""
    old = node.inputs[index]
    name = str(node.name) if old is None else str(old.name)
    node.replace_input_with(index, new_initialiser(graph, name, array))
    if old is not None and not old.uses() and name in graph.initializers:
        del graph.initializers[name]


def fill(node: ir.Node, index: int, array: np.ndarray) -> None:
    """Put an ``array``, of the same type and of any shape, into the initialiser at input ``index``."""
    import onnx_ir as ir

    old = node.inputs[index]
    if old is None or old.const_value is None:
        raise ValueError(f"input {index} of {node.op_type} {node.name} is not an initialiser")
    old.const_value = ir.Tensor(np.asarray(array, order="C"), name=old.name)


def _bias_name(node: ir.Node) -> str:
    weight_value = node.inputs[1]
    base = str(weight_value.name) if weight_value is not None else str(node.name)
    return f"{base.removesuffix('.weight')}.bias"


def drop_bias(node: ir.Node) -> None:
    """Leave a Conv without bias."""
    node.replace_input_with(2, None)
    node.resize_inputs(2)


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that reads ``value``, if nothing else does."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The node that computes ``value``, if it is an ``op_type``."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None


def integers(node: ir.Node, attribute: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
    """An integer-list attribute."""
    found = node.attributes.get(attribute)
    return tuple(found.as_ints()) if found is not None else default


def group(node: ir.Node) -> int:
    found = node.attributes.get("group")
    return found.as_int() if found is not None else 1


def scalable(value: ir.Value, carriers: Collection[str]) -> bool:
    """Whether only convs read ``value``, at most through ``carriers``, operators that a positive factor passes."""
    return not value.is_graph_output() and all(_passes_scale(use.node, use.idx, carriers) for use in value.uses())


def _passes_scale(node: ir.Node, index: int, carriers: Collection[str]) -> bool:
    if node.op_type == "Conv":
        return index == 0
    linear = node.op_type != "Resize" or node.attributes["mode"].as_string() in ("linear", "nearest")
    return node.op_type in carriers and linear and scalable(node.outputs[0], carriers)


def per_input(conv: ir.Node, factors: np.ndarray) -> np.ndarray:
    """``factors`` [C] of a Conv's input channels, to multiply its weight with: [O, C / group, 1, 1]."""
    each, outer = factors.reshape(group(conv), -1), weight(conv, 1).shape[0]  # o reads group o // (O / group)
    return np.repeat(each, outer // group(conv), axis=0)[:, :, None, None]


def is_depthwise(node: ir.Node) -> bool:
    """A Conv with one input channel per group, and more than one group."""
    return node.op_type == "Conv" and group(node) > 1 and weight(node, 1).shape[1] == 1


def is_pointwise(node: ir.Node) -> bool:
    """A dense 1x1 Conv, stride 1, no padding."""
    return (
        node.op_type == "Conv"
        and group(node) == 1
        and weight(node, 1).shape[2:] == (1, 1)
        and set(integers(node, "strides", (1,))) == {1}
        and not any(integers(node, "pads"))
    )


def of_type(graph: ir.Graph, *op_types: str) -> Iterator[ir.Node]:
    """The nodes of these types, over a snapshot, so that the caller may edit the graph."""
    return iter([node for node in graph if node.op_type in op_types])


def new_node(name: str, op_type: str, *inputs: ir.Value | None, **attributes: object) -> ir.Node:
    """A node whose single output carries its name."""
    import onnx_ir as ir

    return ir.node(op_type, inputs, attributes, outputs=[ir.Value(name=name)], name=name)  # type: ignore[arg-type]


def replace(graph: ir.Graph, old: ir.Node, new: list[ir.Node]) -> None:
    """Put ``new`` in place of ``old``; the last one's output takes over old's name and uses."""
    import onnx_ir as ir

    ir.convenience.replace_nodes_and_values(graph, old, [old], new, old.outputs, new[-1].outputs)
    new[-1].name = old.name


def bypass(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    """Remove ``node``; ``value`` takes over its output's name, type and uses."""
    output = node.outputs[0]
    name, kind, shape = output.name, output.type, output.shape
    output.replace_all_uses_with(value, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    value.name, value.type, value.shape = name, kind, shape
    source = value.producer()
    if source is not None:
        source.name = name
