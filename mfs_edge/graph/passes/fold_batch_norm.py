"""Conv -> BatchNormalization becomes one Conv."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import GraphPass, require_absent, require_float32


class FoldBatchNorm(GraphPass):
    """y = g (conv(x) - m) / sqrt(v + eps) + b is a Conv with scaled weights and another bias.

    Requires: float32; inference-mode batch norms, each the only reader of a Conv.
    Ensures: no BatchNormalization is left.
    """

    def requires(self, model: ir.Model) -> None:
        require_float32(model)

    def ensures(self, model: ir.Model) -> None:
        require_absent(model, "BatchNormalization")

    def rewrite(self, graph: ir.Graph) -> bool:
        changed = False
        for norm in edit.of_type(graph, "BatchNormalization"):
            conv = edit.producer(norm.inputs[0], "Conv")
            if conv is not None and edit.only_consumer(conv.outputs[0]) is norm:
                _fold(graph, conv, norm)
                changed = True
        return changed


def _fold(graph: ir.Graph, conv: ir.Node, norm: ir.Node) -> None:
    gamma, beta, mean, variance = (edit.weight(norm, i) for i in range(1, 5))
    scale = gamma / np.sqrt(variance + norm.attributes["epsilon"].as_float())
    bias = (edit.conv_bias(conv) - mean) * scale + beta
    edit.set_weight(graph, conv, 1, edit.weight(conv, 1) * scale[:, None, None, None])
    edit.set_weight(graph, conv, 2, bias)
    edit.bypass(graph, norm, conv.outputs[0])
