"""Rounding a Conv's weights so that its outputs change least, not the weights themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

DAMPING = 1e-3  # of the mean square: keeps the factorisation stable, and weights near where they were
LEAST = 1e-30  # the damping of inputs that are always 0
BLOCK = 32  # columns whose losses are passed on together: one matrix product instead of 32 outer ones

LARGEST_HALF = float(np.finfo(np.float16).max)
MAX_CODE = 127  # symmetric, and clear of -128 (TFLite 8-bit quantisation specification)

Nearest = Callable[[np.ndarray], np.ndarray]  # values to the nearest that can be stored, elementwise


def halves(values: np.ndarray) -> np.ndarray:
    """The nearest float16 values, of any shape, in float64; finite."""
    return np.clip(values, -LARGEST_HALF, LARGEST_HALF).astype(np.float16).astype(np.float64)


def codes(values: np.ndarray) -> np.ndarray:
    """The nearest int8 codes of ``values`` in steps, of any shape, in float64."""
    found: np.ndarray = np.clip(np.rint(values), -MAX_CODE, MAX_CODE)
    return found


def compensated(exact: np.ndarray, moments: np.ndarray, nearest: Nearest, *, noise: float = 0.0) -> np.ndarray:
    """Round column after column; what each loses, the columns not yet rounded make up for.

    The optimal brain surgeon's rule, on the mean squared change of the outputs (Frantar et
    al., "GPTQ", ICLR 2023, section 3).

    Args:
        exact: the weights of each group of a conv, [groups, outputs, inputs].
        moments: mean products of the inputs of each group, [groups, inputs, inputs].
        nearest: rounds.
        noise: mean square of what the inputs' own rounding adds to each.

    Returns:
        What ``nearest`` gave for every weight, shaped like ``exact``.
    """
    order, upper = _factors(moments, noise)
    left = np.take_along_axis(exact, order[:, None, :], axis=2).swapaxes(1, 2).copy()  # [groups, inputs, outputs]
    found = np.empty_like(left)
    width = left.shape[1]
    for start in range(0, width, BLOCK):
        stop = min(start + BLOCK, width)
        lost = np.empty_like(left[:, start:stop])
        for i in range(start, stop):
            found[:, i] = nearest(left[:, i])
            lost[:, i - start] = (left[:, i] - found[:, i]) / upper[:, i, i, None]
            left[:, i + 1 : stop] -= upper[:, i, i + 1 : stop, None] * lost[:, None, i - start]
        left[:, stop:] -= upper[:, start:stop, stop:].swapaxes(1, 2) @ lost
    restored = np.empty_like(exact)
    np.put_along_axis(restored, np.broadcast_to(order[:, None, :], exact.shape), found.swapaxes(1, 2), axis=2)
    return restored


def _factors(moments: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """The order to round in, strongest input first, and the inverse's upper Cholesky factor in that order."""
    diagonal = np.arange(moments.shape[1])
    damped = moments.copy()
    mean = np.trace(moments, axis1=1, axis2=2) / len(diagonal)
    damped[:, diagonal, diagonal] += noise + np.maximum(DAMPING * mean, LEAST)[:, None]
    order = np.argsort(-damped[:, diagonal, diagonal], axis=1, kind="stable")
    ordered = np.take_along_axis(np.take_along_axis(damped, order[:, :, None], axis=1), order[:, None, :], axis=2)
    inverse = np.linalg.inv(ordered)
    return order, np.linalg.cholesky((inverse + inverse.swapaxes(1, 2)) / 2).swapaxes(1, 2)
