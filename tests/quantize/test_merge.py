"""A narrow depthwise conv and the pointwise one behind it, as one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.quantize import execute, merge


def names(model: ir.Model) -> set[str]:
    return {str(node.name) for node in model.graph}


def test_the_merged_graph_computes_the_same(small: ir.Model, judging: list[np.ndarray]) -> None:
    merged = merge.merge(small)
    assert names(small) - names(merged) == {"mask.4.depthwise.unbiased"}
    for found, wanted in zip(execute.outputs(merged, judging), execute.outputs(small, judging), strict=True):
        assert max(np.abs(found[name] - wanted[name]).max() for name in wanted) < 1e-5


def test_the_first_conv_has_too_many_outputs_to_gain(small: ir.Model) -> None:
    first = next(node for node in merge.merge(small).graph if node.op_type == "Conv")
    assert edit.is_depthwise(first)


def test_float_nodes_stay(small: ir.Model) -> None:
    for kept in ("mask.4.depthwise.unbiased", "mask.4.norm"):
        assert names(merge.merge(small, [kept])) == names(small)
