"""(image - 0.5) / 0.5 keeps its subtraction; the division moves into the first depthwise conv."""

from __future__ import annotations

import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import GraphPass, require_float32


class FoldNormalisation(GraphPass):
    """K * ((image - h) / d) = (K / d) * (image - h).

    Folding the subtraction too, with an explicit Pad of h and a bias of -sum(K) h / d, is
    exact as well and as fast. But the bias is then a large number that cancels, which costs
    half precision 2 to 6 dB, and it depends on the identity.

    Requires: float32. Ensures: no depthwise conv alone reads a divided image.
    """

    def requires(self, model: ir.Model) -> None:
        require_float32(model)

    def ensures(self, model: ir.Model) -> None:
        for div in edit.of_type(model.graph, "Div"):
            if _match(div) is not None:
                raise ir.passes.PostconditionError(f"Div {div.name} still normalises the image")

    def rewrite(self, graph: ir.Graph) -> bool:
        changed = False
        for div in edit.of_type(graph, "Div"):
            found = _match(div)
            if found is not None:
                _fold(graph, div, *found)
                changed = True
        return changed


def _match(div: ir.Node) -> tuple[ir.Node, ir.Node, float] | None:
    """(sub, conv, scale) if ``div`` is (image - offset) / scale, read by one depthwise conv alone."""
    sub, conv = edit.producer(div.inputs[0], "Sub"), edit.only_consumer(div.outputs[0])
    if sub is None or edit.only_consumer(sub.outputs[0]) is not div or conv is None or not edit.is_depthwise(conv):
        return None
    offset, scale = edit.constant(sub.inputs[1]), edit.constant(div.inputs[1])
    if offset is None or scale is None or scale.size != 1:
        return None
    return sub, conv, float(scale.item())


def _fold(graph: ir.Graph, div: ir.Node, sub: ir.Node, conv: ir.Node, scale: float) -> None:
    edit.set_weight(graph, conv, 1, edit.weight(conv, 1) / scale)
    conv.replace_input_with(0, sub.outputs[0])
    graph.remove(div, safe=True)
