"""A payload's order, layout, factors and type, there and back."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge.base.errors import InputError
from mfs_edge.enrolment import Plan, Run, Trunk, coded, decoded, plain
from mfs_edge.enrolment.layers import Layers
from mfs_edge.graph.session import Session
from mfs_edge.networks import spec

KEYS = ("Encoder.0.0.weight", "mask.0.1.weight", "final.1.weight")


def stub() -> tuple[Trunk, dict[str, np.ndarray]]:
    """Tensors that are constants but for a zero of the crop, so that only the end is tested."""
    rng = np.random.default_rng(0)
    net, crop = Layers(), ir.val("crop", dtype=ir.DataType.FLOAT, shape=[1, 3, 224, 224])
    nothing = net.op("nothing", "Mul", net.op("mean", "GlobalAveragePool", crop), net.constant("zero", 0.0))
    one = net.conv("one", nothing, np.zeros((1, 3, 1, 1), np.float32))
    wanted, values = {}, {}
    for key in KEYS:
        shape = spec.local_shapes()[key]
        wanted[key] = rng.standard_normal(shape).astype(np.float32)
        held = wanted[key].transpose(1, 0, 2, 3) if shape[1] == 1 else wanted[key]
        values[key] = net.op(f"{key}.made", "Add", net.constant(f"{key}.held", held), one)
    return Trunk(net, crop, values), wanted


def payload(trunk: Trunk, plan: Plan) -> np.ndarray:
    return Session(coded(trunk, plan)).run({"crop": np.zeros((1, 3, 224, 224), np.float32)})["payload"]


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (1, 2, 3, 0), (0, 2, 3, 1), (3, 1, 0, 2)])
def test_any_order_and_layout(axes: tuple[int, int, int, int]) -> None:
    trunk, wanted = stub()
    plan = Plan(tuple(Run(key, axes) for key in reversed(KEYS)))
    found = payload(trunk, plan)
    np.testing.assert_array_equal(found, np.concatenate([wanted[k].transpose(axes).ravel() for k in reversed(KEYS)]))
    for key, tensor in decoded(found, plan).items():
        np.testing.assert_array_equal(tensor, wanted[key])


def test_factors_of_either_axis() -> None:
    trunk, wanted = stub()
    factors = {
        KEYS[0]: np.array([2.0, 0.5, 4.0]).reshape(3, 1, 1, 1),
        KEYS[1]: np.full((1, 1, 1, 1), 8.0),
        KEYS[2]: 2.0 ** np.arange(-16, 16).reshape(1, 32, 1, 1),
    }
    plan = Plan(tuple(Run(key, (1, 2, 3, 0), factors[key]) for key in KEYS))
    found = payload(trunk, plan)
    expected = [(wanted[k] * factors[k]).astype(np.float32).transpose(1, 2, 3, 0).ravel() for k in KEYS]
    np.testing.assert_array_equal(found, np.concatenate(expected))
    for key, tensor in decoded(found, plan).items():
        np.testing.assert_array_equal(tensor, wanted[key])


def test_half_precision_rounds_to_nearest_even() -> None:
    trunk, wanted = stub()
    plan = Plan(tuple(Run(key) for key in KEYS), dtype="float16")
    found = payload(trunk, plan)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, np.concatenate([wanted[k].astype(np.float16).ravel() for k in KEYS]))


def test_the_plain_plan_holds_25264_numbers_and_nothing_else_is_decoded() -> None:
    assert plain().count == 25_264
    for count in (0, 25_263, 25_265):
        with pytest.raises(InputError, match="25264"):
            decoded(np.zeros(count, np.float32), plain())
