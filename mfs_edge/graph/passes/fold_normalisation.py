"""(image - 0.5) / 0.5 keeps its subtraction; the division moves into the first depthwise conv."""

from __future__ import annotations

import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import NodeRewrite


class FoldNormalisation(NodeRewrite):
    """K * ((image - h) / d) = (K / d) * (image - h).

    Folding the subtraction too, with an explicit Pad of h and a bias of -sum(K) h / d, is
    exact as well and as fast. But the bias is then a large number that cancels, which costs
    half precision 2 to 6 dB, and it depends on the identity.

    Requires: float32. Ensures: no depthwise conv alone reads a divided image.
    """

    op_type = "Div"
    left = "still normalises the image"

    def match(self, node: ir.Node) -> tuple[ir.Node, ir.Node, float] | None:
        """(sub, conv, scale) if ``node`` is (image - offset) / scale, read by one depthwise conv alone."""
        sub, conv = edit.producer(node.inputs[0], "Sub"), edit.only_consumer(node.outputs[0])
        if sub is None or edit.only_consumer(sub.outputs[0]) is not node or conv is None or not edit.is_depthwise(conv):
            return None
        offset, scale = edit.constant(sub.inputs[1]), edit.constant(node.inputs[1])
        if offset is None or scale is None or scale.size != 1:
            return None
        return sub, conv, float(scale.item())

    def apply(self, graph: ir.Graph, node: ir.Node, found: tuple[ir.Node, ir.Node, float]) -> None:
        sub, conv, scale = found
        edit.set_weight(graph, conv, 1, edit.weight(conv, 1) / scale)
        conv.replace_input_with(0, sub.outputs[0])
        graph.remove(node, safe=True)
