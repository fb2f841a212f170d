"""A conv before a sigmoid is scaled down where half precision cannot hold it, and a product scales up again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.passes.base import GraphPass

# What a conv reads comes balanced or equalised: its largest value is at most this on the calibration pictures.
READ = 8.0
# A conv whose sums stay below 2**SAFE on such inputs is left alone: 2**3 from where half precision ends.
SAFE = 13
# Others come to lie below 2**SCALED, with room for pictures that are brighter than all of those.
SCALED = 10
# The largest power of two in half precision; a product with more takes several.
LARGEST = 15
READERS = ("Sigmoid", "Tanh")


class ScaleLogits(GraphPass):
    """sigmoid(W x + b) = sigmoid(2**e (2**-e W x + 2**-e b)), per output channel, exactly: powers of two.

    A logit keeps its scale through every balancing, as a sigmoid is not homogeneous. In a network
    whose logits are huge, its conv's weights and sums leave half precision: infinite weights make
    sums that are no numbers. A product that becomes infinite is harmless: the sigmoid is then 0 or 1.

    Requires: what these convs read is balanced or equalised. Weights may be dequantised integers.
    Ensures: such a conv's weights, biases and sums fit half precision.
    """

    rescales = True

    def rewrite(self, model: ir.Model) -> bool:
        found = [(conv, exponents) for conv in _before_readers(model.graph) if (exponents := _excess(conv)).any()]
        for conv, exponents in found:
            _scale_down(model.graph, conv, exponents)
            _scale_up(model.graph, conv, exponents)
        return bool(found)


def _before_readers(graph: ir.Graph) -> Iterator[ir.Node]:
    """Convs that only a sigmoid or tanh reads."""
    for conv in edit.of_type(graph, "Conv"):
        readers = [use.node for use in conv.outputs[0].uses()]
        if readers and all(node.op_type in READERS for node in readers) and not conv.outputs[0].is_graph_output():
            yield conv


def _excess(conv: ir.Node) -> np.ndarray:
    """The exponent that each output channel is too large by: [O], zero where it fits."""
    weight, bias = _real(conv, 1), _real(conv, 2)
    reached = READ * np.abs(weight).sum(axis=(1, 2, 3)) + np.abs(bias)
    exponents = np.ceil(np.log2(np.maximum(reached, 1)))
    return np.where(exponents > SAFE, exponents - SCALED, 0)


def _real(conv: ir.Node, index: int) -> np.ndarray:
    """A conv's weight [O, I, k, k] or bias [O] in float64, whether it is stored as floats or as integers."""
    value = conv.inputs[index] if index < len(conv.inputs) else None
    if value is None:
        return np.zeros(1)
    integers = edit.producer(value, "DequantizeLinear")
    if integers is None:
        return edit.weight(conv, index)
    codes, scale = edit.weight(integers, 0), edit.weight(integers, 1)
    return codes * scale.reshape(-1, *[1] * (codes.ndim - 1))


def _scale_down(graph: ir.Graph, conv: ir.Node, exponents: np.ndarray) -> None:
    factors = np.exp2(-exponents)
    for index in range(1, len(conv.inputs)):
        value = conv.inputs[index]
        integers = edit.producer(value, "DequantizeLinear")
        if integers is not None:
            edit.set_initialiser(graph, integers, 1, (edit.weight(integers, 1) * factors).astype(np.float32))
        elif value is not None:
            edit.set_weight(graph, conv, index, (edit.weight(conv, index).T * factors).T)


def _scale_up(graph: ir.Graph, conv: ir.Node, exponents: np.ndarray) -> None:
    """Products behind ``conv``; the last one's output has its name."""
    name, old = str(conv.name), conv.outputs[0]
    kind, shape, readers = old.type, old.shape, list(old.uses())
    conv.name = old.name = f"{name}.scaled"
    last, node = old, conv
    while exponents.any():
        step = np.minimum(exponents, LARGEST)
        exponents = exponents - step
        more = f"{name}.{int(exponents.max())}" if exponents.any() else name
        factors = np.exp2(step).astype(edit.dtype_of(conv)).reshape(1, -1, 1, 1)
        product = edit.new_node(more, "Mul", last, edit.new_initialiser(graph, f"{more}.factor", factors))
        product.outputs[0].type, product.outputs[0].shape = kind, shape
        graph.insert_after(node, product)
        last, node = product.outputs[0], product
    for use in readers:
        use.node.replace_input_with(use.idx, last)
