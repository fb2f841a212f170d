"""(image - 0.5) / 0.5 moves into the first depthwise conv."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import GraphPass, require_float32


class FoldNormalisation(GraphPass):
    """K * ((image - h) / d) = (K / d) * image - sum(K) h / d.

    The conv pads the normalised image with 0, which is the raw image padded with h: an
    explicit Pad does that, and the conv itself no longer pads.

    Requires: float32; the normalised image has one reader, a depthwise conv.
    Ensures: no Div is left.
    """

    def requires(self, model: ir.Model) -> None:
        require_float32(model)

    def rewrite(self, graph: ir.Graph) -> bool:
        changed = False
        for div in edit.of_type(graph, "Div"):
            sub, conv = edit.producer(div.inputs[0], "Sub"), edit.only_consumer(div.outputs[0])
            if sub is None or conv is None or not edit.is_depthwise(conv):
                continue
            offset, scale = edit.constant(sub.inputs[1]), edit.constant(div.inputs[1])
            if offset is not None and scale is not None and offset.size == scale.size == 1:
                _fold(graph, conv, sub, div, float(offset.item()), float(scale.item()))
                changed = True
        return changed


def _fold(graph: ir.Graph, conv: ir.Node, sub: ir.Node, div: ir.Node, offset: float, scale: float) -> None:
    kernel = edit.weight(conv, 1) / scale
    bias = edit.conv_bias(conv) - offset * kernel.sum(axis=(1, 2, 3))
    edit.set_weight(graph, conv, 1, kernel)
    edit.set_weight(graph, conv, 2, bias)
    padded = _padded(graph, conv, sub.inputs[0], offset)
    conv.replace_input_with(0, padded)
    conv.attributes["pads"] = ir.AttrInt64s("pads", [0, 0, 0, 0])
    graph.remove([div, sub], safe=True)


def _padded(graph: ir.Graph, conv: ir.Node, image: ir.Value | None, value: float) -> ir.Value:
    """``image`` with the conv's padding made explicit, filled with ``value``."""
    top, left, bottom, right = edit.integers(conv, "pads", (0, 0, 0, 0))
    pads = ir.Tensor(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64), name="image.pads")
    amounts = ir.Value(name="image.pads", shape=pads.shape, type=ir.TensorType(pads.dtype), const_value=pads)
    graph.register_initializer(amounts)
    fill = edit.new_initialiser(graph, "image.fill", np.array(value, edit.dtype_of(conv)))
    pad = edit.new_node("image.padded", "Pad", image, amounts, fill, mode="constant")
    graph.insert_before(conv, [pad])
    return pad.outputs[0]
