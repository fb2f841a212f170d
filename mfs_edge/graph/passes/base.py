"""What a pass is.

A pass rewrites the model in place without changing what it computes. It says what it
``requires`` of the model and what it ``ensures``, and reports whether it changed anything.

Names are promises: a tensor that holds something else after a pass has another name after
it (weights aside), so any tensor present before and after must hold the same values, and
a checker can name the first that does not. A pass that rescales tensors on purpose says so
with ``rescales``; then only the graph's outputs are compared.
"""

from __future__ import annotations

import abc
from typing import Any, Protocol

import onnx_ir as ir

from mfs_edge.graph import edit


class GraphPass(ir.passes.InPlacePass):
    """One exact rewrite. Subclasses implement :meth:`rewrite`."""

    rescales = False

    @property
    def title(self) -> str:
        """Name in reports and errors: the class's."""
        return type(self).__name__

    @abc.abstractmethod
    def rewrite(self, model: ir.Model) -> bool:
        """Rewrite ``model`` in place; whether anything changed."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        return ir.passes.PassResult(model, modified=self.rewrite(model))


class Checker(Protocol):
    """Compares a model before and after each pass, for tests and diagnosis: ``tests/graph/passes/checker.py`` does."""

    def before(self, model: ir.Model) -> None: ...

    def after(self, model: ir.Model, graph_pass: GraphPass, *, changed: bool) -> None:
        """Raises PassError if a tensor differs, an output is gone, or ``changed`` is untrue."""


class NodeRewrite(GraphPass):
    """Rewrites every node of one type that matches. Requires: float32. Ensures: none that matches is left."""

    op_type: str
    left: str  # what is wrong with a node that still matches, for the error

    @abc.abstractmethod
    def match(self, node: ir.Node) -> Any:
        """What :meth:`apply` needs to know; None leaves ``node`` as it is."""

    @abc.abstractmethod
    def apply(self, graph: ir.Graph, node: ir.Node, found: Any) -> None:
        """Rewrite one node; ``found`` is what :meth:`match` said of it."""

    def requires(self, model: ir.Model) -> None:
        require_float32(model)

    def ensures(self, model: ir.Model) -> None:
        for node in edit.of_type(model.graph, self.op_type):
            if self.match(node) is not None:
                raise ir.passes.PostconditionError(f"{self.op_type} {node.name} {self.left}")

    def rewrite(self, model: ir.Model) -> bool:
        changed = False
        for node in edit.of_type(model.graph, self.op_type):
            if (found := self.match(node)) is not None:
                self.apply(model.graph, node, found)
                changed = True
        return changed


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
