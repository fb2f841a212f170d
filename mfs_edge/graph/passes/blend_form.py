"""face * mask + (1 - mask) * image becomes image + mask * (face - image)."""

from __future__ import annotations

import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import NodeRewrite


class BlendForm(NodeRewrite):
    """Three elementwise nodes at full size instead of four, and no constant.

    Requires: float32. Ensures: no blend in the long form is left.
    """

    op_type = "Add"
    left = "still blends in the long form"

    def match(self, node: ir.Node) -> tuple[ir.Value, ir.Value, ir.Value] | None:
        """(face, mask, image) if ``node`` is face * mask + (1 - mask) * image."""
        covered, kept = (edit.producer(value, "Mul") for value in node.inputs)
        if covered is None or kept is None:
            return None
        rest = edit.producer(kept.inputs[0], "Sub")
        face, mask = covered.inputs
        image = kept.inputs[1]
        if rest is None or rest.inputs[1] is not mask or edit.constant(rest.inputs[0]) != 1.0:
            return None
        return None if face is None or mask is None or image is None else (face, mask, image)

    def apply(self, graph: ir.Graph, node: ir.Node, found: tuple[ir.Value, ir.Value, ir.Value]) -> None:
        face, mask, image = found
        difference = edit.new_node("blend.difference", "Sub", face, image)
        weighted = edit.new_node("blend.weighted", "Mul", difference.outputs[0], mask)
        total = edit.new_node("blend", "Add", image, weighted.outputs[0])
        edit.replace(graph, node, [difference, weighted, total])
