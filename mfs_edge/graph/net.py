"""What every graph is written with: named nodes, and initialisers that are made once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit


class Net:
    """Collects nodes and initialisers in the order in which they are asked for."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype  # of constants, unless told otherwise
        self.nodes: list[ir.Node] = []
        self.initialisers: dict[str, ir.Value] = {}

    def constant(self, name: str, value: np.ndarray | float, dtype: np.dtype | None = None) -> ir.Value:
        """An initialiser of any shape, made once per name, in the net's dtype unless told otherwise."""
        dtype = dtype or self.dtype
        if name not in self.initialisers:
            array = np.asarray(value, dtype, order="C")
            tensor = ir.Tensor(array, name=name)
            self.initialisers[name] = ir.Value(
                name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
        return self.initialisers[name]

    def op(self, name: str, op_type: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        """Append a node; its single output carries the node's name."""
        self.nodes.append(edit.new_node(name, op_type, *inputs, **attributes))
        return self.nodes[-1].outputs[0]

    def graph(
        self, name: str, inputs: list[ir.Value], outputs: list[ir.Value], opset_imports: Mapping[str, int]
    ) -> ir.Graph:
        """All of it as a graph."""
        initialisers = list(self.initialisers.values())
        return ir.Graph(
            inputs, outputs, nodes=self.nodes, initializers=initialisers, opset_imports=dict(opset_imports), name=name
        )
