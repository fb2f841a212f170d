"""A depthwise conv's bias moves into the pointwise conv that reads it."""

from __future__ import annotations

import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import GraphPass, require_float32


class FoldDepthwiseBias(GraphPass):
    """W (K * x + b) + c = W (K * x) + (W b + c), as nothing non-linear lies between.

    Requires: float32. Ensures: no depthwise conv read by one pointwise conv alone has a bias.
    """

    def requires(self, model: ir.Model) -> None:
        require_float32(model)

    def ensures(self, model: ir.Model) -> None:
        for conv in edit.of_type(model.graph, "Conv"):
            if _reader(conv) is not None:
                raise ir.passes.PostconditionError(f"depthwise Conv {conv.name} still has a bias")

    def rewrite(self, graph: ir.Graph) -> bool:
        changed = False
        for depthwise in edit.of_type(graph, "Conv"):
            pointwise = _reader(depthwise)
            if pointwise is not None:
                weight = edit.weight(pointwise, 1)[:, :, 0, 0]
                edit.set_weight(graph, pointwise, 2, edit.conv_bias(pointwise) + weight @ edit.conv_bias(depthwise))
                edit.drop_bias(depthwise)
                depthwise.outputs[0].name = depthwise.name = f"{depthwise.name}.unbiased"
                changed = True
        return changed


def _reader(conv: ir.Node) -> ir.Node | None:
    """The pointwise Conv that alone reads a biased depthwise ``conv``."""
    if len(conv.inputs) < 3 or conv.inputs[2] is None or not edit.is_depthwise(conv):
        return None
    reader = edit.only_consumer(conv.outputs[0])
    return reader if reader is not None and edit.is_pointwise(reader) else None
