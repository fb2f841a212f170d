"""Upsample -> pointwise conv becomes pointwise conv -> upsample."""

from __future__ import annotations

import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import GraphPass, require_float32


class HoistPointwise(GraphPass):
    """A 1x1 conv mixes channels, an upsample mixes pixels: they commute.

    The upsample's weights sum to one, so the bias passes through it too. The conv then
    runs on a quarter of the pixels. Done where the conv does not widen (the tail's 32 -> 8),
    so that the upsample does not grow.

    Requires: float32; batch norms behind the conv already folded, or they stay behind.
    Ensures: no upsample is read by such a conv alone.
    """

    def requires(self, model: ir.Model) -> None:
        require_float32(model)

    def ensures(self, model: ir.Model) -> None:
        for resize in edit.of_type(model.graph, "Resize"):
            if _hoistable(resize) is not None:
                raise ir.passes.PostconditionError(f"Conv behind {resize.name} could still be hoisted")

    def rewrite(self, graph: ir.Graph) -> bool:
        changed = False
        for resize in edit.of_type(graph, "Resize"):
            conv = _hoistable(resize)
            if conv is not None:
                _swap(graph, resize, conv)
                changed = True
        return changed


def _hoistable(resize: ir.Node) -> ir.Node | None:
    """The narrowing pointwise Conv that alone reads a linear ``resize``."""
    conv = edit.only_consumer(resize.outputs[0])
    if conv is None or not edit.is_pointwise(conv) or resize.attributes["mode"].as_string() != "linear":
        return None
    outer, inner = edit.weight(conv, 1).shape[:2]
    return conv if outer <= inner else None


def _swap(graph: ir.Graph, resize: ir.Node, conv: ir.Node) -> None:
    """x -> resize -> conv becomes x -> conv' -> resize', which keeps conv's name."""
    attributes = {name: attribute.value for name, attribute in conv.attributes.items()}
    early = edit.new_node(f"{conv.name}.hoisted", "Conv", resize.inputs[0], *conv.inputs[1:], **attributes)
    settings = {name: attribute.value for name, attribute in resize.attributes.items()}
    late = edit.new_node(f"{conv.name}.up", "Resize", early.outputs[0], *resize.inputs[1:], **settings)
    edit.replace(graph, conv, [early, late])
    graph.remove(resize, safe=True)
