"""Nodes and initialisers that nothing reads are removed."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from mfs_edge.graph.passes.base import GraphPass


class DropDead(GraphPass):
    """What the other passes left behind.

    Requires: nothing. Ensures: every initialiser is read.
    """

    def ensures(self, model: ir.Model) -> None:
        for name, value in model.graph.initializers.items():
            if not value.uses():
                raise ir.passes.PostconditionError(f"initialiser {name} is read by nothing")

    def rewrite(self, model: ir.Model) -> bool:
        return RemoveUnusedNodesPass()(model).modified
