"""Sums of neighbouring weights, and how they are kept from saturating."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfs_edge.base.errors import PassError
from mfs_edge.graph import edit
from mfs_edge.quantize import neighbours, quantise, weights

SHAPES = [(5, 8, 1, 1), (4, 7, 1, 1), (3, 3, 3, 3), (2, 6, 3, 3), (6, 1, 3, 3), (1, 5, 2, 2), (2, 1, 1, 1)]


def saturates(row: np.ndarray) -> bool:
    """Whether int16 sums of two products, of activations at the ends of u8, are ever wrong: [K], in one order."""
    codes = np.append(row, [0] * (len(row) % 2)).reshape(-1, 2).astype(np.int64)
    activations = np.array([[0, 0], [0, 255], [255, 0], [255, 255]])
    sums = codes @ activations.T
    return bool((np.clip(sums, -(2**15), 2**15 - 1) != sums).any())


def orders(weight: np.ndarray) -> list[np.ndarray]:
    """As kernels read the weights of one output: taps and channels in a row, and each tap by itself."""
    by_tap = weight.transpose(1, 2, 0).reshape(-1, len(weight))
    return [by_tap.ravel(), *by_tap]


@given(st.integers(0, 10_000), st.sampled_from(SHAPES))
@settings(max_examples=60, deadline=None)
def test_the_limit_is_what_saturates(seed: int, shape: tuple[int, ...]) -> None:
    codes = np.random.default_rng(seed).integers(-127, 128, shape)
    for row, most in zip(codes, neighbours.largest(codes), strict=True):
        assert (most > neighbours.LIMIT) == any(saturates(order) for order in orders(row))


@given(st.integers(0, 10_000), st.sampled_from(SHAPES), st.floats(0.3, 3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_written_code_saturates(seed: int, shape: tuple[int, ...], tail: float, sampled: bool) -> None:
    """Whatever the weights are, also where rounding makes up for correlated inputs."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=shape) * rng.lognormal(0, tail, shape)
    inputs = rng.normal(size=(40, 2)) @ rng.normal(size=(2, shape[1])) if sampled else None
    codes = weights.quantise(weight, rng.normal(size=shape[0]), 0.01, inputs)
    assert neighbours.largest(codes.weight.astype(int)).max() <= neighbours.LIMIT
    assert np.abs(codes.weight.astype(int)).max() <= 127


def test_settling_moves_codes_as_little_as_it_can() -> None:
    exact = np.array([[64.4, 64.2, -90.0, 37.0, 100.0, 28.0]])[:, :, None, None]
    codes = np.array([[64, 65, -90, 37, 101, 28]])[:, :, None, None]
    settled = neighbours.settled(codes, exact)[0, :, 0, 0].tolist()
    assert settled == [64, 64, -90, 37, 100, 28]


def test_signs_that_differ_cost_nothing() -> None:
    weight = np.array([[1.0, -1.0], [1.0, 1.0]])[:, :, None, None]
    opposite, alike = np.abs(weights.quantise(weight, np.zeros(2), 1.0).weight).max(axis=(1, 2, 3))
    assert (opposite, alike) == (127, 64)


def test_depthwise_weights_use_all_of_int8() -> None:
    codes = weights.quantise(np.ones((4, 1, 3, 3)), np.zeros(4), 1.0, depthwise=True)
    assert (codes.weight == 127).all()


@pytest.mark.parametrize("precision", ["int8", "int8-mixed"])
def test_a_graph_that_could_saturate_is_named(small: ir.Model, calibrating: list[np.ndarray], precision: str) -> None:
    quantised = quantise(small, calibrating[:2], precision=precision)
    most = neighbours.require(quantised.model)
    assert 120 < most <= neighbours.LIMIT
    assert f"sum to {most}, at most 128" in quantised.arithmetic
    model = quantised.model.clone()
    conv = next(node for node in model.graph if node.name == "decoder.1.pointwise")
    stored = edit.producer(conv.inputs[1], "DequantizeLinear")
    assert stored is not None
    codes = edit.constant(stored.inputs[0])
    assert codes is not None
    broken = codes.copy()
    broken[3, 4:6] = -65
    stored.replace_input_with(0, edit.new_initialiser(model.graph, "broken", broken))
    with pytest.raises(PassError, match=r"decoder\.1\.pointwise: neighbouring int8 weights sum to 130"):
        neighbours.require(model)
