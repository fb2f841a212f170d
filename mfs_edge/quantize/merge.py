"""A narrow depthwise conv and the narrow pointwise one behind it, as one dense conv.

Between the two there is nothing but a sum, so their product is one kernel. It has more
multiply-accumulates, but int8 kernels compute at least eight channels at a time whether or not
there are as many, and one rounding falls away. Exact. Worth it only where both are narrow: the
first conv of the image has 32 outputs, and merged costs a Raspberry Pi 4 a tenth more
instructions (``benchmarks/emulated.py``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit

if TYPE_CHECKING:
    from mfs_edge.quantize.draft import Draft

CHANNELS, OUTPUTS = 8, 4


def step(draft: Draft) -> Draft:
    """:func:`merge` of the draft's graph."""
    return replace(draft, model=merge(draft.model, draft.float_nodes))


def merge(model: ir.Model, float_nodes: Collection[str] = ()) -> ir.Model:
    """A copy of ``model`` with narrow depthwise convs merged; those of ``float_nodes`` stay."""
    copy = model.clone()
    for depthwise in edit.of_type(copy.graph, "Conv"):
        pointwise = edit.only_consumer(depthwise.outputs[0])
        if pointwise is None or not _merges(depthwise, pointwise):
            continue
        if not {str(depthwise.name), str(pointwise.name)} & set(float_nodes):
            _merge(copy.graph, depthwise, pointwise)
    return copy


def _merges(depthwise: ir.Node, pointwise: ir.Node) -> bool:
    narrow = edit.is_depthwise(depthwise) and len(edit.weight(depthwise, 1)) == edit.group(depthwise) <= CHANNELS
    return narrow and edit.is_pointwise(pointwise) and len(edit.weight(pointwise, 1)) <= OUTPUTS


def _merge(graph: ir.Graph, depthwise: ir.Node, pointwise: ir.Node) -> None:
    mixing = edit.weight(pointwise, 1)[:, :, 0, 0]  # [O, C]
    kernel = np.einsum("oc,cij->ocij", mixing, edit.weight(depthwise, 1)[:, 0])
    bias = edit.conv_bias(pointwise) + mixing @ edit.conv_bias(depthwise)
    dtype = edit.dtype_of(pointwise)
    weight = edit.new_initialiser(graph, f"{pointwise.name}.merged.weight", kernel.astype(dtype))
    offset = edit.new_initialiser(graph, f"{pointwise.name}.merged.bias", bias.astype(dtype))
    attributes = {name: found for name, found in depthwise.attributes.items() if name != "group"}
    merged = edit.new_node(str(pointwise.name), "Conv", depthwise.inputs[0], weight, offset)
    merged.attributes.update(attributes)
    merged.outputs[0].type, merged.outputs[0].shape = pointwise.outputs[0].type, pointwise.outputs[0].shape
    edit.replace(graph, pointwise, [merged])
    graph.remove(depthwise, safe=True)
