"""Which tensors are integers, and which share a grid."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from mfs_edge.base.errors import UsageError
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build
from mfs_edge.quantize import grid, layout


def test_everything_is_an_integer_unless_it_stays_float(small: ir.Model) -> None:
    where = layout.find(small)
    assert set(where.group) == {"image", *(str(node.outputs[0].name) for node in small.graph)}
    assert layout.find(small, [str(node.name) for node in small.graph]).group == {}


def test_resize_pad_and_concat_keep_the_grid(small: ir.Model) -> None:
    where = layout.find(small)
    for node in small.graph:
        if node.op_type in ("Resize", "Pad", "Concat"):
            tied = [*layout.operands(node), node.outputs[0]]
            assert len({where.group[str(value.name)] for value in tied}) == 1
    assert where.group["encoder.1.leaky"] == where.group["decoder.2.leaky"] == where.group["decoder.3.up"]
    assert where.group["encoder.4.leaky"] != where.group["encoder.3.leaky"]


def test_some_grids_are_fixed(small: ir.Model) -> None:
    fixed = layout.find(small).fixed
    moved = grid.Grid(grid.BYTES.scale, 0)
    assert fixed == {
        "image": grid.BYTES,
        "normalise.centre": moved,
        "swapped": grid.BYTES,
        "mask": grid.SIGMOID,
        "tail.face": grid.SIGMOID,
    }


def test_a_float_node_leaves_its_neighbours_integers(small: ir.Model) -> None:
    where = layout.find(small, ["encoder.2.pointwise", "encoder.2.leaky"])
    assert "encoder.2.pointwise" not in where.group
    assert {"encoder.2.depthwise", "encoder.2.leaky"} <= set(where.group)


def test_unknown_names_and_operators_are_refused(small: ir.Model, demo_folded: FoldedIDN) -> None:
    with pytest.raises(UsageError, match=r"no node 'encoder\.9'"):
        layout.find(small, ["encoder.9"])
    with pytest.raises(UsageError, match=r"normalise\.scale has no int8 form.*--optimize 1"):
        layout.find(build.build(demo_folded.weights(), size=64))
