"""Rounding for the outputs, on any kind of conv."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfs_edge.quantize import rounding


def drawn(seed: int, groups: int, outputs: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [groups, outputs, width], and correlated inputs [groups, width, 500]."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(0, 1, (groups, width, max(width // 4, 1)))
    inputs = mixing @ rng.normal(0, 1, (groups, mixing.shape[2], 500)) + rng.normal(0, 0.1, (groups, width, 500))
    return rng.normal(0, 3, (groups, outputs, width)), inputs


def products(inputs: np.ndarray) -> np.ndarray:
    return inputs @ inputs.swapaxes(1, 2) / inputs.shape[2]


def damage(found: np.ndarray, exact: np.ndarray, inputs: np.ndarray) -> float:
    return float((((found - exact) @ inputs) ** 2).mean())


@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 5), st.sampled_from([1, 9, 31, 32, 33, 70]))
@settings(max_examples=30, deadline=None)
def test_blocks_do_as_one_column_after_another(seed: int, groups: int, outputs: int, width: int) -> None:
    exact, inputs = drawn(seed, groups, outputs, width)
    found = rounding.compensated(exact, products(inputs), np.rint)
    assert np.array_equal(found, np.rint(found))
    for group in range(groups):
        plain = one_by_one(exact[group], products(inputs)[group])
        assert np.mean(found[group] != plain) < 0.02  # sums in another order may round a tie elsewhere


def one_by_one(exact: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """The rule as it is written down, with an inverse for every step."""
    damped = moments + np.eye(len(moments)) * max(rounding.DAMPING * np.trace(moments) / len(moments), rounding.LEAST)
    order = np.argsort(-np.diag(damped), kind="stable")
    left, found = exact.copy(), np.empty_like(exact)
    for step, i in enumerate(order):
        rest = order[step:]
        inverse = np.linalg.inv(damped[np.ix_(rest, rest)])
        found[:, i] = np.rint(left[:, i])
        left[:, rest] -= np.outer((left[:, i] - found[:, i]) / inverse[0, 0], inverse[0])
    return found


def test_the_outputs_change_less_than_with_nearest() -> None:
    exact, inputs = drawn(0, 2, 16, 64)
    found = rounding.compensated(exact, products(inputs), np.rint)
    assert damage(found, exact, inputs) < 0.25 * damage(np.rint(exact), exact, inputs)


def test_unrelated_inputs_leave_nothing_to_make_up_for() -> None:
    exact, _ = drawn(1, 1, 4, 10)
    assert np.array_equal(rounding.compensated(exact, np.eye(10)[None], np.rint), np.rint(exact))


@pytest.mark.parametrize("inputs", [np.zeros((1, 6, 5)), np.ones((1, 6, 5)), np.full((1, 6, 5), 1e15)])
def test_inputs_that_say_nothing_keep_the_weights_near(inputs: np.ndarray) -> None:
    exact, _ = drawn(2, 1, 4, 6)
    found = rounding.compensated(exact, products(inputs), np.rint)
    assert np.abs(found - exact).max() <= 3.5  # six columns of at most half a step each


def test_what_the_inputs_round_off_themselves_counts() -> None:
    """With noise far above the signal, there is nothing worth compensating."""
    exact, inputs = drawn(3, 1, 8, 20)
    assert np.array_equal(rounding.compensated(exact, products(inputs), np.rint, noise=1e9), np.rint(exact))
