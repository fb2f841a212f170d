"""Upsample -> pointwise conv becomes pointwise conv -> upsample."""

from __future__ import annotations

import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import NodeRewrite


class HoistPointwise(NodeRewrite):
    """A 1x1 conv mixes channels, an upsample mixes pixels: they commute.

    The upsample's weights sum to one, so the bias passes through it too. The conv then
    runs on a quarter of the pixels. Done where the conv does not widen (the tail's 32 -> 8),
    so that the upsample does not grow.

    Requires: float32; batch norms behind the conv already folded, or they stay behind.
    Ensures: no upsample is read by such a conv alone.
    """

    op_type = "Resize"
    left = "is read by a Conv that could still be hoisted"

    def match(self, node: ir.Node) -> ir.Node | None:
        """The narrowing pointwise Conv that alone reads a linear upsample."""
        conv = edit.only_consumer(node.outputs[0])
        if conv is None or not edit.is_pointwise(conv) or node.attributes["mode"].as_string() != "linear":
            return None
        outer, inner = edit.weight(conv, 1).shape[:2]
        return conv if outer <= inner else None

    def apply(self, graph: ir.Graph, node: ir.Node, found: ir.Node) -> None:
        """x -> resize -> conv becomes x -> conv' -> resize', which keeps conv's name."""
        attributes = {name: attribute.value for name, attribute in found.attributes.items()}
        early = edit.new_node(f"{found.name}.hoisted", "Conv", node.inputs[0], *found.inputs[1:], **attributes)
        settings = {name: attribute.value for name, attribute in node.attributes.items()}
        late = edit.new_node(f"{found.name}.up", "Resize", early.outputs[0], *node.inputs[1:], **settings)
        edit.replace(graph, found, [early, late])
        graph.remove(node, safe=True)
