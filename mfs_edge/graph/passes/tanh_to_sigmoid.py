"""(1 + tanh(conv)) / 2 becomes sigmoid(conv'), with conv' = 2 conv."""

from __future__ import annotations

import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import NodeRewrite, require_absent


class TanhToSigmoid(NodeRewrite):
    """(1 + tanh(y)) / 2 = sigmoid(2 y); the 2 goes into the conv, exactly: a power of two.

    Requires: float32. Ensures: no Tanh is left.
    """

    op_type = "Tanh"

    def match(self, node: ir.Node) -> tuple[ir.Node, ir.Node] | None:
        """The Conv that it alone reads, and the Div of ``(tanh + 1) / 2``."""
        conv, halve = edit.producer(node.inputs[0], "Conv"), _raised_and_halved(node)
        return (conv, halve) if conv and halve and edit.only_consumer(conv.outputs[0]) is node else None

    def apply(self, graph: ir.Graph, node: ir.Node, found: tuple[ir.Node, ir.Node]) -> None:
        conv, halve = found
        edit.set_weight(graph, conv, 1, 2 * edit.weight(conv, 1))
        edit.set_weight(graph, conv, 2, 2 * edit.conv_bias(conv))
        add = halve.inputs[0].producer() if halve.inputs[0] is not None else None
        conv.outputs[0].name = conv.name = f"{conv.name}.doubled"
        edit.replace(graph, halve, [edit.new_node("sigmoid", "Sigmoid", conv.outputs[0])])
        graph.remove([each for each in (add, node) if each is not None], safe=True)

    def ensures(self, model: ir.Model) -> None:
        require_absent(model, self.op_type)


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
