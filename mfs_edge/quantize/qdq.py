"""Write a quantisation into the graph: QuantizeLinear / DequantizeLinear pairs.

Activations get a pair behind whatever computes them, one scale each; weights are stored as
int8 with one scale per output channel and zero points of zero, biases as int32 in the scale
of the products they are added to. Every runtime that we target recognises this form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from mfs_edge.graph import edit
from mfs_edge.quantize import layout as layouts
from mfs_edge.quantize.grid import Grid
from mfs_edge.quantize.layout import Layout
from mfs_edge.quantize.weights import Codes

if TYPE_CHECKING:
    from mfs_edge.quantize.draft import Draft


def step(draft: Draft) -> Draft:
    """With the pairs in its graph."""
    names = {conv: part.name for conv, part in draft.parts.items()}
    return replace(draft, model=insert(draft.model, draft.layout, draft.grids, draft.codes, names))


def insert(
    model: ir.Model, layout: Layout, grids: Mapping[str, Grid], codes: Mapping[str, Codes],
    names: Mapping[str, str] = MappingProxyType({}),
) -> ir.Model:  # fmt: skip
    """A QDQ copy of ``model``.

    Args:
        model: float32; left as it is.
        layout: from :func:`mfs_edge.quantize.layout.find` on this graph.
        grids: per group of ``layout``.
        codes: per Conv that computes on integers, or whose weights alone are stored as such.
        names: what the weights of a Conv are called, if not after it.
    """
    copy = model.clone()
    graph = copy.graph
    writer = _Writer(graph)
    for node in edit.of_type(graph, "Conv"):
        if node.name in codes:
            name, integer = str(node.name), node.name in layout.integer
            writer.weights(node, codes[name], names.get(name, f"{name}.weight"), with_bias=integer)
    for node in edit.of_type(graph, "Relu"):
        source = node.inputs[0]
        if source is not None and node.outputs[0].name in layout.group and layouts.saturates(source, layout.integer):
            edit.bypass(graph, node, source)  # the grid behind it ends at zero
    for value in [*graph.inputs, *(node.outputs[0] for node in list(graph))]:
        if str(value.name) in layout.group:
            writer.pair(value, layout.group[str(value.name)], grids, layout)
    return ShapeInferencePass()(copy).model


class _Writer:
    """Adds pairs and integer initialisers to one graph."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.constants: dict[str, tuple[ir.Value, ir.Value]] = {}

    def constant(self, name: str, array: np.ndarray) -> ir.Value:
        return edit.new_initialiser(self.graph, name, array)

    def weights(self, conv: ir.Node, codes: Codes, called: str, *, with_bias: bool) -> None:
        """Replace the float weight of ``conv``, and its bias, by dequantised integers."""
        name = str(conv.name)
        zero = np.zeros(len(codes.scale), np.int8)
        # A bias has no zero point: onnxruntime wants none there.
        self._dequantised(conv, 1, called, codes.weight, codes.scale, self.constant(f"{name}.zero", zero))
        if with_bias:
            self._dequantised(conv, 2, f"{name}.bias", codes.bias, codes.bias_scale)

    def _dequantised(
        self, conv: ir.Node, index: int, called: str, codes: np.ndarray, scale: np.ndarray, *zero: ir.Value
    ) -> None:
        stored = [self.constant(f"{called}.codes", codes), self.constant(f"{called}.scale", scale)]
        node = edit.new_node(called, "DequantizeLinear", *stored, *zero, axis=0)
        self.graph.insert_before(conv, node)
        self._give(conv, index, node.outputs[0])

    def _give(self, conv: ir.Node, index: int, value: ir.Value) -> None:
        if index >= len(conv.inputs):
            conv.resize_inputs(index + 1)
        old = conv.inputs[index]
        conv.replace_input_with(index, value)
        if old is not None and not old.uses() and str(old.name) in self.graph.initializers:
            del self.graph.initializers[str(old.name)]

    def pair(self, value: ir.Value, group: str, grids: Mapping[str, Grid], layout: Layout) -> None:
        """Behind ``value``; float readers of a float value keep reading it."""
        made = value.producer()
        integer = made is not None and made.name in layout.integer
        readers = [use for use in value.uses() if integer or use.node.name in layout.integer]
        name = str(value.name)
        scale, zero = self._grid(group, grids[group])
        quantise = edit.new_node(f"{name}.quantised", "QuantizeLinear", value, scale, zero)
        restore = edit.new_node(f"{name}.restored", "DequantizeLinear", quantise.outputs[0], scale, zero)
        if made is None:
            self.graph.insert_before(next(iter(self.graph)), [quantise, restore])
        else:
            self.graph.insert_after(made, [quantise, restore])
        for use in readers:
            use.node.replace_input_with(use.idx, restore.outputs[0])
        if integer and value.is_graph_output():
            self._take_output(value, restore.outputs[0])

    def _take_output(self, value: ir.Value, restored: ir.Value) -> None:
        """The graph's output keeps its name, and is now what the integers stand for; what computes it gets another."""
        name, made = str(value.name), value.producer()
        restored.type, restored.shape = value.type, value.shape
        for index, output in enumerate(self.graph.outputs):
            if output is value:
                self.graph.outputs[index] = restored
        value.name = f"{name}.real"
        if made is not None:
            # Some runtimes name layers after nodes, others after tensors: none may be there twice.
            made.name = value.name
        restored.name = name

    def _grid(self, group: str, grid: Grid) -> tuple[ir.Value, ir.Value]:
        """One scale and zero point for all tensors that share them."""
        if group not in self.constants:
            scale = self.constant(f"{group}.scale", np.array(grid.scale, np.float32))
            self.constants[group] = scale, self.constant(f"{group}.zero", np.array(grid.zero_point, np.int8))
        return self.constants[group]
