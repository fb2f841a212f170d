"""The integer grid, against onnxruntime's own QuantizeLinear."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfs_edge.graph.session import Session
from mfs_edge.quantize.grid import BYTES, SIGMOID, Grid

ends = st.floats(-1e6, 1e6, allow_nan=False)


@given(ends, ends)
def test_a_grid_spans_its_range_and_holds_zero(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    grid = Grid.over(low, high)
    assert grid.scale > 0
    assert -128 <= grid.zero_point <= 127
    assert grid.low <= 0 <= grid.high
    assert grid.low <= min(low, 0) + 0.51 * grid.scale
    assert grid.high >= max(high, 0) - 0.51 * grid.scale
    assert grid.rounded(np.zeros(1, np.float32)) == 0


@pytest.mark.parametrize("grid", [Grid.over(-1.3, 2.7), Grid.over(0, 5), Grid.over(-4, 0), BYTES, SIGMOID])
def test_rounding_is_onnxruntimes(grid: Grid) -> None:
    values = np.random.default_rng(0).uniform(-6, 6, (1, 3, 8, 8)).astype(np.float32)
    x = ir.val("x", dtype=ir.DataType.FLOAT, shape=values.shape)
    scale = ir.val("scale", const_value=ir.Tensor(np.array(grid.scale, np.float32), name="scale"))
    zero = ir.val("zero", const_value=ir.Tensor(np.array(grid.zero_point, np.int8), name="zero"))
    codes = ir.node("QuantizeLinear", [x, scale, zero], name="q")
    real = ir.node("DequantizeLinear", [codes.outputs[0], scale, zero], name="dq")
    real.outputs[0].name, real.outputs[0].dtype = "y", ir.DataType.FLOAT
    graph = ir.Graph([x], real.outputs, nodes=[codes, real], initializers=[scale, zero], opset_imports={"": 17})
    wanted = Session(ir.Model(graph, ir_version=8)).run({"x": values})["y"]
    assert np.abs(grid.rounded(values) - wanted).max() <= 1e-6


def test_bytes_are_exact() -> None:
    every = np.arange(256, dtype=np.float32) / 255
    assert np.abs(BYTES.rounded(every) - every).max() < 1e-7


@pytest.mark.parametrize("value", [0.0, 1e-30, -1e-30])
def test_a_dead_tensor_gets_a_harmless_scale(value: float) -> None:
    grid = Grid.over(value, value)
    assert np.isfinite(grid.scale)
    assert grid.scale >= np.finfo(np.float32).tiny
