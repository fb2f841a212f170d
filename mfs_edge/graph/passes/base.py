"""What a pass is.

A pass rewrites the model in place without changing what it computes. It says what it
``requires`` of the model and what it ``ensures``, and reports whether it changed anything.

Names are promises: a tensor that holds something else after a pass has another name after
it (weights aside), so any tensor present before and after must hold the same values, and
``check`` can name the first that does not. A pass that rescales tensors on purpose says so
with ``rescales``; then only the graph's outputs are compared.
"""

from __future__ import annotations

import onnx_ir as ir


class GraphPass(ir.passes.InPlacePass):
    """One exact rewrite. Subclasses implement :meth:`rewrite`."""

    rescales = False

    @property
    def title(self) -> str:
        """Name in reports and errors: the class's."""
        return type(self).__name__

    def rewrite(self, graph: ir.Graph) -> bool:
        """Rewrite ``graph`` in place; whether anything changed."""
        raise NotImplementedError(f"{self.title} defines no rewrite")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        return ir.passes.PassResult(model, modified=self.rewrite(model.graph))


def require_absent(model: ir.Model, *op_types: str) -> None:
    """Raises PostconditionError if a node of these types is left."""
    for node in model.graph:
        if node.op_type in op_types:
            raise ir.passes.PostconditionError(f"{node.op_type} {node.name} is left")


def require_float32(model: ir.Model) -> None:
    """Raises PreconditionError unless the graph is float32: exact rewrites precede quantisation."""
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            raise ir.passes.PreconditionError(f"{node.op_type} {node.name} is there before the float passes")
