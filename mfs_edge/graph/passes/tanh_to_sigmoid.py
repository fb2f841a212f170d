"""(1 + tanh(conv)) / 2 becomes sigmoid(conv'), with conv' = 2 conv."""

from __future__ import annotations

import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import GraphPass, require_absent, require_float32


class TanhToSigmoid(GraphPass):
    """(1 + tanh(y)) / 2 = sigmoid(2 y); the 2 goes into the conv, exactly: a power of two.

    Requires: float32. Ensures: no Tanh is left.
    """

    def requires(self, model: ir.Model) -> None:
        require_float32(model)

    def ensures(self, model: ir.Model) -> None:
        require_absent(model, "Tanh")

    def rewrite(self, graph: ir.Graph) -> bool:
        changed = False
        for tanh in edit.of_type(graph, "Tanh"):
            conv = edit.producer(tanh.inputs[0], "Conv")
            halve = _raised_and_halved(tanh)
            if conv is not None and halve is not None and edit.only_consumer(conv.outputs[0]) is tanh:
                _rewrite(graph, conv, tanh, halve)
                changed = True
        return changed


def _raised_and_halved(tanh: ir.Node) -> ir.Node | None:
    """The Div of ``(tanh + 1) / 2``."""
    add = edit.only_consumer(tanh.outputs[0])
    if add is None or add.op_type != "Add" or not _has_constant(add, 1.0):
        return None
    div = edit.only_consumer(add.outputs[0])
    if div is None or div.op_type != "Div" or edit.constant(div.inputs[1]) != 2.0:
        return None
    return div


def _has_constant(node: ir.Node, number: float) -> bool:
    arrays = [edit.constant(value) for value in node.inputs]
    return any(array is not None and array.size == 1 and array.item() == number for array in arrays)


def _rewrite(graph: ir.Graph, conv: ir.Node, tanh: ir.Node, halve: ir.Node) -> None:
    edit.set_weight(graph, conv, 1, 2 * edit.weight(conv, 1))
    edit.set_weight(graph, conv, 2, 2 * edit.conv_bias(conv))
    add = halve.inputs[0].producer() if halve.inputs[0] is not None else None
    conv.outputs[0].name = conv.name = f"{conv.name}.doubled"
    edit.replace(graph, halve, [edit.new_node("sigmoid", "Sigmoid", conv.outputs[0])])
    graph.remove([node for node in (add, tanh) if node is not None], safe=True)
