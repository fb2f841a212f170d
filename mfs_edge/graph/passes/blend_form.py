"""face * mask + (1 - mask) * image becomes image + mask * (face - image)."""

from __future__ import annotations

import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import GraphPass, require_float32


class BlendForm(GraphPass):
    """Three elementwise nodes at full size instead of four, and no constant.

    Requires: float32. Ensures: no blend in the long form is left.
    """

    def requires(self, model: ir.Model) -> None:
        require_float32(model)

    def ensures(self, model: ir.Model) -> None:
        for add in edit.of_type(model.graph, "Add"):
            if _match(add) is not None:
                raise ir.passes.PostconditionError(f"Add {add.name} still blends in the long form")

    def rewrite(self, graph: ir.Graph) -> bool:
        changed = False
        for add in edit.of_type(graph, "Add"):
            blend = _match(add)
            if blend is not None:
                face, mask, image = blend
                difference = edit.new_node("blend.difference", "Sub", face, image)
                weighted = edit.new_node("blend.weighted", "Mul", difference.outputs[0], mask)
                total = edit.new_node("blend", "Add", image, weighted.outputs[0])
                edit.replace(graph, add, [difference, weighted, total])
                changed = True
        return changed


def _match(add: ir.Node) -> tuple[ir.Value, ir.Value, ir.Value] | None:
    """(face, mask, image) if ``add`` is face * mask + (1 - mask) * image."""
    covered, kept = (edit.producer(value, "Mul") for value in add.inputs)
    if covered is None or kept is None:
        return None
    rest = edit.producer(kept.inputs[0], "Sub")
    face, mask = covered.inputs
    image = kept.inputs[1]
    if rest is None or rest.inputs[1] is not mask or edit.constant(rest.inputs[0]) != 1.0:
        return None
    if face is None or mask is None or image is None:
        return None
    return face, mask, image
