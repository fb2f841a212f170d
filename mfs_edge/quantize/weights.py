"""Weights as integers: int8 per output channel, symmetric; int32 biases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_CODE = 127  # symmetric, and clear of -128 (TFLite 8-bit quantisation specification)
# A bias stays this far inside int32, so that products can be added to it.
MAX_BIAS = 2**30
MIN_SCALE = 1e-12
DAMPING = 1e-3  # of the mean square: keeps the factorisation stable


@dataclass(frozen=True)
class Codes:
    """A Conv's weight and bias as integers."""

    weight: np.ndarray  # int8 [O, I / groups, kh, kw]
    scale: np.ndarray  # float32 [O]
    bias: np.ndarray  # int32 [O]
    bias_scale: np.ndarray  # float32 [O]: the input's scale times ``scale``

    def real(self) -> np.ndarray:
        """The weight that the codes stand for, float64."""
        return self.weight * self.scale.astype(np.float64)[:, None, None, None]

    def with_bias(self, bias: np.ndarray) -> Codes:
        """The same weight with another bias, float [O]."""
        limit = np.iinfo(np.int32).max
        codes = np.clip(np.rint(bias / self.bias_scale.astype(np.float64)), -limit, limit)
        return Codes(self.weight, self.scale, codes.astype(np.int32), self.bias_scale)


def quantise(weight: np.ndarray, bias: np.ndarray, input_scale: float, inputs: np.ndarray | None = None) -> Codes:
    """Round a Conv's weight and bias.

    Args:
        weight: float [O, I / groups, kh, kw].
        bias: float [O].
        input_scale: of the integers that the Conv reads.
        inputs: a sample of what the Conv reads, [n, channels]. Its weights are then rounded
            so that the outputs change least if it is pointwise, see :func:`_rounded`, and its
            bias makes up for the mean of the change. Without one they are rounded to nearest.
    """
    scale = np.maximum(np.abs(weight).max(axis=(1, 2, 3)) / MAX_CODE, MIN_SCALE)
    # A channel of tiny weights under a large bias would overflow int32.
    scale = np.maximum(scale, np.abs(bias) / (input_scale * MAX_BIAS)).astype(np.float32)
    exact = weight / scale[:, None, None, None].astype(np.float64)
    if inputs is not None and weight.shape[1:] == (inputs.shape[1], 1, 1):
        codes = _rounded(exact[:, :, 0, 0], inputs.astype(np.float64), input_scale)[:, :, None, None]
    else:
        codes = np.clip(np.rint(exact), -MAX_CODE, MAX_CODE)
    if inputs is not None:
        bias = bias + _mean_change(exact - codes, inputs.mean(axis=0, dtype=np.float64)) * scale
    bias_scale = (np.float64(input_scale) * scale).astype(np.float32)
    empty = np.zeros(len(bias), np.int32)
    return Codes(codes.astype(np.int8), scale, empty, bias_scale).with_bias(bias)


def _mean_change(lost: np.ndarray, means: np.ndarray) -> np.ndarray:
    """What rounding took off the mean of each output, borders aside: [O]."""
    groups = len(means) // lost.shape[1]
    per_output = np.repeat(means.reshape(groups, -1), len(lost) // groups, axis=0)
    return np.einsum("ocij,oc->o", lost, per_output)


def _rounded(exact: np.ndarray, inputs: np.ndarray, step: float) -> np.ndarray:
    """Round column after column; what each loses, the columns not yet rounded make up for.

    The optimal brain surgeon's rule, on the mean squared change of the outputs (Frantar et
    al., "GPTQ", ICLR 2023, section 3).

    Args:
        exact: weights in units of their rows' steps, [O, I].
        inputs: [n, I].
        step: of the inputs' own rounding.
    """
    moments = inputs.T @ inputs / len(inputs)
    moments[np.diag_indices_from(moments)] += step**2 / 12 + DAMPING * np.trace(moments) / len(moments)
    order = np.argsort(-np.diag(moments), kind="stable")
    inverse = np.linalg.inv(moments[np.ix_(order, order)])
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    left = exact[:, order].copy()
    codes = np.empty_like(left)
    for i in range(len(order)):
        codes[:, i] = np.clip(np.rint(left[:, i]), -MAX_CODE, MAX_CODE)
        left[:, i + 1 :] -= np.outer((left[:, i] - codes[:, i]) / upper[i, i], upper[i, i + 1 :])
    restored = np.empty_like(codes)
    restored[:, order] = codes
    return restored
