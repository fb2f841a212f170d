"""A depthwise conv's bias moves into the pointwise conv that reads it."""

from __future__ import annotations

import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import NodeRewrite


class FoldDepthwiseBias(NodeRewrite):
    """W (K * x + b) + c = W (K * x) + (W b + c), as nothing non-linear lies between.

    Requires: float32. Ensures: no depthwise conv read by one pointwise conv alone has a bias.
    """

    op_type = "Conv"
    left = "still has a bias that its reader can take"

    def match(self, node: ir.Node) -> ir.Node | None:
        """The pointwise Conv that alone reads a biased depthwise one."""
        if len(node.inputs) < 3 or node.inputs[2] is None or not edit.is_depthwise(node):
            return None
        reader = edit.only_consumer(node.outputs[0])
        return reader if reader is not None and edit.is_pointwise(reader) else None

    def apply(self, graph: ir.Graph, node: ir.Node, found: ir.Node) -> None:
        weight = edit.weight(found, 1)[:, :, 0, 0]
        edit.set_weight(graph, found, 2, edit.conv_bias(found) + weight @ edit.conv_bias(node))
        edit.drop_bias(node)
        node.outputs[0].name = node.name = f"{node.name}.unbiased"
