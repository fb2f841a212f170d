"""Integer weights and biases."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge.graph import statistics
from mfs_edge.quantize import bias_correction, neighbours, qdq, recipe, weights
from mfs_edge.quantize.draft import Draft
from mfs_edge.quantize.samples import Sample


@pytest.fixture
def dense() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A pointwise weight, its bias, and correlated inputs with a mean."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(0, 1, (2000, 8)) @ rng.normal(0, 1, (8, 48)) + rng.uniform(0, 2, 48)
    return rng.normal(0, 1, (16, 48, 1, 1)), rng.normal(0, 1, 16), inputs.astype(np.float32)


def output_error(codes: weights.Codes, weight: np.ndarray, bias: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """[n, O]."""
    real = codes.bias * codes.bias_scale.astype(np.float64)
    return inputs @ (codes.real() - weight)[:, :, 0, 0].T + (real - bias)


def test_rounding_for_the_outputs_beats_rounding_to_nearest(dense: tuple[np.ndarray, ...]) -> None:
    weight, bias, inputs = dense
    nearest = output_error(weights.quantise(weight, bias, 1e-3), weight, bias, inputs)
    chosen = output_error(weights.quantise(weight, bias, 1e-3, inputs), weight, bias, inputs)
    assert (chosen**2).mean() < 0.25 * (nearest**2).mean()
    assert np.abs(chosen.mean(axis=0)).max() < 2e-3  # the bias makes up for the mean


def test_codes_stay_symmetric_and_near_the_weight(dense: tuple[np.ndarray, ...]) -> None:
    weight, bias, inputs = dense
    codes = weights.quantise(weight, bias, 1e-3, inputs)
    assert codes.weight.min() >= -127
    used = np.maximum(
        np.abs(codes.weight).max(axis=(1, 2, 3)) / weights.MAX_CODE, neighbours.largest(codes.weight) / 128
    )
    assert (used >= 0.94).all()
    assert np.allclose(codes.bias_scale, codes.scale * np.float32(1e-3))


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-9])
def test_a_large_bias_on_tiny_weights_does_not_overflow(size: float) -> None:
    weight, bias = np.full((2, 3, 1, 1), size), np.array([1e4, -1e4])
    codes = weights.quantise(weight, bias, 1e-6)
    assert np.allclose(codes.bias * codes.bias_scale.astype(np.float64), bias, rtol=1e-6)
    assert np.isfinite(codes.scale).all()
    assert (codes.scale > 0).all()


def test_a_depthwise_bias_makes_up_for_the_mean() -> None:
    rng = np.random.default_rng(1)
    weight, means = rng.normal(0, 1, (6, 1, 3, 3)), rng.uniform(1, 2, 6)
    codes = weights.quantise(weight, np.zeros(6), 1e-5, np.tile(means, (10, 1)).astype(np.float32))
    change = (codes.real() - weight).sum(axis=(1, 2, 3)) * means + codes.bias * codes.bias_scale
    assert np.abs(change).max() < 1e-4


def test_bias_correction_keeps_every_mean(
    small: ir.Model, seen: Mapping[str, Sample], calibrating: list[np.ndarray]
) -> None:
    """Of the written graph's conv outputs, on the pictures corrected on."""
    draft = recipe.run(Draft(small, calibrating, samples=seen), recipe.between("layout", "rounding"))
    rounded = weights.for_outputs(draft)
    pictures = range(len(calibrating))
    corrected = bias_correction.correct(rounded, [(0, i) for i in pictures], list(pictures))
    drift = []
    for codes in (draft.codes, corrected):
        model = qdq.insert(small, draft.layout, draft.grids, codes)
        values = list(statistics.observe(model, calibrating, codes))
        off = []
        for name in codes:
            mean = np.mean([value[name].mean(axis=(0, 2, 3), dtype=np.float64) for value in values], axis=0)
            off.append(np.abs(mean - seen[name].means.mean(axis=0)).max() / float(seen[name].values.std()))
        drift.append(max(off))
    assert drift[1] < 0.15  # values half-way between codes fall differently in other sums, and few pixels average them
    assert drift[1] < 0.4 * drift[0]
