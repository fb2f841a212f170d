"""Range setting on tensors whose best range is known."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge.quantize import layout, ranges
from mfs_edge.quantize.samples import Sample


def squared_error(values: np.ndarray, low: float, high: float) -> float:
    grid = ranges.Grid.over(low, high)
    return float(np.mean((grid.rounded(values) - values) ** 2))


def test_the_error_is_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """With errors of one kind weighing as those of the other, no other range does better."""
    monkeypatch.setattr(ranges, "COHERENCE", 1.0)
    values = np.random.default_rng(0).laplace(0, 1, 200_000)
    low, high = float(values.min()), float(values.max())
    grid = ranges.least_error(values, low, high)
    found = squared_error(values, grid.low, grid.high)
    assert found < 0.9 * squared_error(values, low, high)
    for factor in (0.5, 0.7, 1.4):
        assert found < squared_error(values, factor * grid.low, factor * grid.high)


def test_cutting_off_weighs_more() -> None:
    values = np.random.default_rng(0).laplace(0, 1, 200_000)
    low, high = float(values.min()), float(values.max())
    grid = ranges.least_error(values, low, high)
    assert np.mean((values < grid.low) | (values > grid.high)) < 1e-4


def test_an_even_spread_is_kept_whole() -> None:
    values = np.random.default_rng(0).uniform(-2, 3, 100_000)
    grid = ranges.least_error(values, -2.0, 3.0)
    assert grid.low == pytest.approx(-2, abs=0.1)
    assert grid.high == pytest.approx(3, abs=0.1)


def test_before_a_sigmoid_large_values_do_not_count() -> None:
    values = np.random.default_rng(0).normal(0, 12, 100_000)
    low, high = float(values.min()), float(values.max())
    plain, squashed = ranges.least_error(values, low, high), ranges.least_error(values, low, high, squashed=True)
    assert squashed.scale < 0.5 * plain.scale

    def error(grid: ranges.Grid) -> float:
        return float(np.mean((1 / (1 + np.exp(-grid.rounded(values))) - 1 / (1 + np.exp(-values))) ** 2))

    assert error(squashed) < 0.5 * error(plain)


def test_the_rules_differ_as_they_should(small: ir.Model, seen: dict[str, Sample]) -> None:
    where = layout.find(small)
    cut, whole = (ranges.choose(small, where, seen, cutting=cutting) for cutting in (True, False))
    for group in where.groups:
        assert cut[group].scale <= whole[group].scale * 1.001
    assert cut["mask.5.conv"].scale < 0.9 * whole["mask.5.conv"].scale
    assert cut["blend.difference"] == whole["blend.difference"]
