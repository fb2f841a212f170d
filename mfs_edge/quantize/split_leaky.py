"""LeakyReLU of few channels as two half-ranges.

int8 runtimes round before a LeakyReLU and again behind it, and the range before it is the
sum of both halves. LeakyReLU(x) = relu(x) - slope relu(-x), and relu costs nothing on
integers: codes below a zero point of -128 saturate. So a conv of a few channels between two
dense convs computes x and -x, and the next conv joins the halves with its weights: each half
has all 256 codes, rounded once. Exact. Done where the conv has at most ``CHANNELS`` outputs:
int8 kernels compute eight at a time anyway.
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

CHANNELS = 4


def step(draft: Draft) -> Draft:
    """:func:`split` of the draft's graph."""
    return replace(draft, model=split(draft.model, draft.float_nodes))


def split(model: ir.Model, float_nodes: Collection[str] = ()) -> ir.Model:
    """A copy of ``model`` with each such LeakyReLU split; those of ``float_nodes`` stay."""
    copy = model.clone()
    for node in edit.of_type(copy.graph, "LeakyRelu"):
        conv = edit.producer(node.inputs[0], "Conv")
        reader = edit.only_consumer(node.outputs[0])
        if conv is None or reader is None or not _splits(conv, reader):
            continue
        if not {str(conv.name), str(node.name)} & set(float_nodes):
            _split(copy.graph, conv, node, reader)
    return copy


def _splits(conv: ir.Node, reader: ir.Node) -> bool:
    dense = reader.op_type == "Conv" and edit.group(conv) == edit.group(reader) == 1
    return dense and len(edit.weight(conv, 1)) <= CHANNELS and edit.only_consumer(conv.outputs[0]) is not None


def _split(graph: ir.Graph, conv: ir.Node, leaky: ir.Node, reader: ir.Node) -> None:
    weight, bias, joined = edit.weight(conv, 1), edit.conv_bias(conv), edit.weight(reader, 1)
    slope = leaky.attributes["alpha"].as_float()
    edit.set_weight(graph, conv, 1, _alternating(weight, -weight))
    edit.set_weight(graph, conv, 2, _alternating(bias, -bias))
    edit.set_weight(graph, reader, 1, _alternating(joined, -slope * joined, axis=1))
    halves = edit.new_node(f"{conv.name}.halves", "Relu", conv.outputs[0])
    edit.replace(graph, leaky, [halves])
    for value in (conv.outputs[0], halves.outputs[0]):
        if value.shape is not None:
            value.shape = ir.Shape([value.shape[0], 2 * len(weight), *value.shape[2:]])


def _alternating(one: np.ndarray, other: np.ndarray, axis: int = 0) -> np.ndarray:
    """Both, one of each in turn: weights of two signs side by side never saturate (:mod:`neighbours`)."""
    stacked = np.stack([one, other], axis=axis + 1)
    return stacked.reshape(*one.shape[:axis], 2 * one.shape[axis], *one.shape[axis + 1 :])
