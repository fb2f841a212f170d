"""The one-euro filter: still points tremble less, moving ones lag less than a frame, at any size and rate."""

from __future__ import annotations

import numpy as np
import pytest

from mfs_edge.face import align, smooth
from mfs_edge.face.smooth import OneEuro

NOISE = 0.004  # of the eyes' distance: Face Mesh's, of a picture with sigma 10


def run(points: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    filtered = OneEuro()
    return np.array([filtered(face, float(time)) for face, time in zip(points, seconds, strict=True)])


def still(frames: int, size: float, seed: int = 0) -> np.ndarray:
    """[T, 5, 2]: the template of eyes ``size`` px apart, with noise."""
    face = align.TEMPLATE * size / 35.24
    return face + np.random.default_rng(seed).normal(0, NOISE * size, (frames, 5, 2))


@pytest.mark.parametrize("size", [20.0, 60.0, 400.0])
@pytest.mark.parametrize("rate", [15, 30, 60])
def test_what_stands_still_trembles_less_than_half_as_much(size: float, rate: int) -> None:
    given = still(200, size)
    found = run(given, np.arange(200) / rate)[20:]
    assert found.std(axis=0).mean() < 0.5 * given.std(axis=0).mean()
    assert smooth.jitter(found) < 0.3 * smooth.jitter(given)


@pytest.mark.parametrize("pixels", [0.5, 1.0, 5.0, 20.0])
def test_what_moves_lags_less_than_a_frame(pixels: float) -> None:
    way = np.arange(90)[:, None, None] * np.array([pixels, pixels / 2])
    found = run(still(90, 46) + way, np.arange(90) / 30)
    behind = (still(90, 46) + way - found)[10:].mean(axis=(0, 1)) @ [1, 0.5] / (pixels * 1.25)
    assert 0 <= behind < 0.7


def test_size_and_rate_of_a_picture_change_nothing() -> None:
    given = still(60, 50) + np.cumsum(np.random.default_rng(1).normal(0, 1, (60, 1, 2)), axis=0)
    times = np.arange(60) / 30
    np.testing.assert_allclose(run(4 * given, times), 4 * run(given, times))


def test_variable_frame_times() -> None:
    """Twice the same points, a moment apart, change little; after a gap what was before is forgotten."""
    filtered = OneEuro()
    first, other = still(2, 50)
    filtered(first, 1.0)
    quick = filtered(other, 1.001)
    assert np.abs(quick - first).max() < 0.05 * np.abs(other - first).max()
    np.testing.assert_array_equal(filtered(first + 9, 3.0), first + 9)
    np.testing.assert_array_equal(filtered(other, 3.0), other)  # time stands still: nothing to smooth over
    np.testing.assert_array_equal(filtered(first, 2.0), first)


def test_what_is_given_is_not_kept() -> None:
    filtered = OneEuro()
    points = still(1, 50)[0]
    found = filtered(points, 0.0)
    found += 100
    np.testing.assert_allclose(filtered(points, 0.03), points)


def test_jitter_is_the_noise_and_not_the_motion() -> None:
    noise = np.random.default_rng(2).normal(0, 0.7, (400, 5, 2))
    steady = np.arange(400)[:, None, None] * np.array([3.0, -2.0])
    assert smooth.jitter(noise + steady) == pytest.approx(0.7, rel=0.05)
    assert smooth.jitter(steady + np.zeros((400, 5, 2))) == pytest.approx(0, abs=1e-9)
    assert smooth.jitter(noise[:2]) == 0.0
