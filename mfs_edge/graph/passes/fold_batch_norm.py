"""Conv -> BatchNormalization becomes one Conv."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import NodeRewrite, require_absent


class FoldBatchNorm(NodeRewrite):
    """y = g (conv(x) - m) / sqrt(v + eps) + b is a Conv with scaled weights and another bias.

    Requires: float32; inference-mode batch norms, each the only reader of a Conv.
    Ensures: no BatchNormalization is left.
    """

    op_type = "BatchNormalization"

    def match(self, node: ir.Node) -> ir.Node | None:
        """The Conv that it alone reads."""
        conv = edit.producer(node.inputs[0], "Conv")
        return conv if conv is not None and edit.only_consumer(conv.outputs[0]) is node else None

    def apply(self, graph: ir.Graph, node: ir.Node, found: ir.Node) -> None:
        gamma, beta, mean, variance = (edit.weight(node, i) for i in range(1, 5))
        scale = gamma / np.sqrt(variance + node.attributes["epsilon"].as_float())
        bias = (edit.conv_bias(found) - mean) * scale + beta
        edit.set_weight(graph, found, 1, edit.weight(found, 1) * scale[:, None, None, None])
        edit.set_weight(graph, found, 2, bias)
        edit.bypass(graph, node, found.outputs[0])

    def ensures(self, model: ir.Model) -> None:
        require_absent(model, self.op_type)
