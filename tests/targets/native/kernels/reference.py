"""The layers in numpy, float64, channels innermost: what the kernels are held against."""

from __future__ import annotations

import numpy as np


def correlated(padded: np.ndarray, kernel: np.ndarray, step: int) -> np.ndarray:
    """Depthwise: [H, W, C] and [k, k, C], no more padding."""
    side = kernel.shape[0]
    high, wide = ((n - side) // step + 1 for n in padded.shape[:2])
    total = np.zeros((high, wide, padded.shape[2]))
    for y in range(side):
        for x in range(side):
            total += padded[y : y + step * high : step, x : x + step * wide : step] * kernel[y, x].astype(np.float64)
    return total


def bordered(source: np.ndarray) -> np.ndarray:
    return np.pad(source.astype(np.float64), ((1, 1), (1, 1), (0, 0)))


def strided(source: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """4x4, stride 2, padding 1."""
    return correlated(bordered(source), kernel, 2)


def same(source: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """3x3, stride 1, padding 1."""
    return correlated(bordered(source), kernel, 1)


def dense(source: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A full 3x3, padding 1; weight [O, I, 3, 3]."""
    padded, (high, wide, _) = bordered(source), source.shape
    total = np.zeros((high, wide, weight.shape[0])) + bias
    for y in range(3):
        for x in range(3):
            total += padded[y : y + high, x : x + wide] @ weight[:, :, y, x].T
    return total


def interpolation(side: int) -> np.ndarray:
    """[2 side, side], align_corners."""
    places = np.arange(2 * side) * (side - 1) / (2 * side - 1)
    below = np.minimum(places.astype(int), max(side - 2, 0))
    matrix = np.zeros((2 * side, side))
    matrix[np.arange(2 * side), below] = 1 - (places - below)
    if side > 1:
        matrix[np.arange(2 * side), below + 1] += places - below
    return matrix


def doubled(source: np.ndarray) -> np.ndarray:
    """Upsampled by 2 in both directions."""
    high, wide = (interpolation(n) for n in source.shape[:2])
    return np.einsum("ai,bj,ijc->abc", high, wide, source.astype(np.float64))


def leaky(x: np.ndarray, slope: float) -> np.ndarray:
    return np.where(x > 0, x, x * slope)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
