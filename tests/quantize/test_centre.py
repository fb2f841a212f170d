"""The image's offset in whole steps of its bytes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge.graph import edit
from mfs_edge.graph.session import Session
from mfs_edge.quantize import centre, grid, quantise


def centring(model: ir.Model) -> ir.Node:
    return next(node for node in model.graph if centre.offset_of(node, model.graph) is not None)


def test_the_offset_is_128_steps_and_bytes_stay_bytes(small: ir.Model) -> None:
    moved = centre.in_whole_steps(small)
    assert centre.offset_of(centring(moved), moved.graph) == pytest.approx(128 / 255, abs=1e-7)
    assert centre.grid_of(128 / 255) == grid.Grid(grid.BYTES.scale, 0)
    centred = np.arange(256) / 255 - 128 / 255
    assert np.abs(centre.grid_of(128 / 255).rounded(centred) - centred).max() < 1e-6


def test_only_the_border_sees_a_difference(small: ir.Model, judging: list[np.ndarray]) -> None:
    changed = edit.only_consumer(centring(small).outputs[0])
    assert changed is not None
    name = str(changed.outputs[0].name)
    seen = []
    for model in (small, centre.in_whole_steps(small)):
        seen.append(Session(model, observed=[name]).run({"image": judging[0]})[name])
    difference = np.abs(seen[0] - seen[1])
    assert difference[:, :, 1:-1, 1:-1].max() < 1e-5
    assert difference.max() < 0.05 * np.abs(seen[0]).max()


def test_a_float_node_keeps_its_offset(small: ir.Model, calibrating: list[np.ndarray]) -> None:
    node = centring(small)
    kept = centre.in_whole_steps(small, [str(node.name)])
    assert centre.offset_of(centring(kept), kept.graph) == 0.5
    mixed = quantise(small, calibrating[:2], precision="int8-mixed").model
    assert centre.offset_of(centring(mixed), mixed.graph) == 0.5
