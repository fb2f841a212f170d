"""The same computation is done once."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass

from mfs_edge.graph.passes.base import GraphPass


class ShareSubexpressions(GraphPass):
    """The mask branch and the decoder both upsample the deepest feature: share it.

    Requires: nothing. Ensures: no two nodes have equal operator, inputs and attributes.
    """

    def rewrite(self, model: ir.Model) -> bool:
        return CommonSubexpressionEliminationPass()(model).modified
