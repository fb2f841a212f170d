"""What a quantised graph says of its tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge import program, target
from mfs_edge.quantize import QuantisedModel, contributions, execute, pairs, quantise
from mfs_edge.target import EmitOptions


@pytest.fixture(scope="module")
def quantised(small: ir.Model, calibrating: list[np.ndarray]) -> QuantisedModel:
    return quantise(small, calibrating)


def test_every_tensor_is_listed(quantised: QuantisedModel, tmp_path: Path) -> None:
    onnx, path = target.get("onnx"), tmp_path / "int8.onnx"
    onnx.emit(quantised.model, path, EmitOptions(precision="int8"))
    found = onnx.read(path).quantised()
    activations = {tensor.name: tensor for tensor in found if tensor.kind == program.ACTIVATION}
    assert set(activations) == set(quantised.grids)
    for name, tensor in activations.items():
        grid = quantised.grids[name]
        assert tensor.scales == (pytest.approx(grid.scale),)
        assert tensor.zero_point == grid.zero_point
        assert (tensor.low, tensor.high) == (pytest.approx(grid.low), pytest.approx(grid.high))
    convs = [node for node in quantised.model.graph if node.op_type == "Conv"]
    assert sum(tensor.kind == program.WEIGHT for tensor in found) == len(convs)
    assert sum(tensor.kind == program.BIAS for tensor in found) == len(convs)


def test_contributions_add_up(quantised: QuantisedModel, judging: list[np.ndarray]) -> None:
    """The damages of single tensors sum to about that of all of them."""
    unrounded = pairs.drop(quantised.model)
    assert not [node for node in unrounded.graph if node.op_type == "QuantizeLinear"]
    expected = execute.outputs(unrounded, judging)
    found = contributions.contributions(quantised.model, judging, expected)
    single = [10 ** (-levels["swapped"] / 10) for levels in found.values()]
    assert set(found) == set(quantised.grids)
    whole = execute.squared_errors(quantised.model, judging, expected)["swapped"]
    assert 0.4 * whole < sum(single) < 2.5 * whole
