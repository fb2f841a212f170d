"""The MIL operators of our packages, from their specification.

Written from the operators' reference in coremltools' API documentation, not from our lowering.
Each computes in float32, on float32 tensors; 8-bit values are whole numbers in them. ``x`` is
[N, C, H, W] where an operator says nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .storage import require

Operator = Callable[..., torch.Tensor]

# Element by element, of any shapes that broadcast.
OPERATORS: dict[str, Operator] = {
    "add": lambda *, x, y: x + y,
    "sub": lambda *, x, y: x - y,
    "mul": lambda *, x, y: x * y,
    "real_div": lambda *, x, y: x / y,
    "leaky_relu": lambda *, x, alpha: torch.where(x >= 0, x, alpha * x),
    "relu": lambda *, x: torch.clamp(x, min=0),
    "sigmoid": lambda *, x: 1 / (1 + torch.exp(-x)),
    "tanh": lambda *, x: torch.tanh(x),
    "sqrt": lambda *, x: torch.sqrt(x),
}
RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


def operator(function: Operator) -> Operator:
    """Register the MIL operator of the function's name."""
    OPERATORS[function.__name__] = function
    return function


@operator
def conv(
    *, x: Any, weight: Any, pad_type: str, strides: Any = None, pad: Any = None, dilations: Any = None,
    groups: Any = 1, bias: Any = None,
) -> torch.Tensor:  # fmt: skip
    """d_out[i] = floor((D_in[i] + pad[2i] + pad[2i+1] - (K[i]-1) * dilations[i] - 1) / strides[i]) + 1."""
    require(pad_type in ("valid", "custom"), f"conv: pad_type {pad_type!r} is not evaluated")
    top, bottom, left, right = [0, 0, 0, 0] if pad_type == "valid" else [int(p) for p in pad]
    padded = torch.nn.functional.pad(x, (left, right, top, bottom))
    steps = (1, 1) if strides is None else tuple(int(s) for s in strides)
    spread = (1, 1) if dilations is None else tuple(int(d) for d in dilations)
    return torch.nn.functional.conv2d(padded, weight, bias, stride=steps, dilation=spread, groups=int(groups))


def align_corners_matrix(size: int, result: int) -> torch.Tensor:
    """[result, size]: linear interpolation at grid point i * (size - 1) / (result - 1)."""
    points = np.arange(result) * ((size - 1) / (result - 1))
    points = np.clip(points, 0, size - 1)
    low = np.minimum(np.floor(points).astype(int), max(size - 2, 0))
    high = np.minimum(low + 1, size - 1)
    matrix = np.zeros((result, size))
    np.add.at(matrix, (np.arange(result), low), 1 - (points - low))
    np.add.at(matrix, (np.arange(result), high), points - low)
    return torch.from_numpy(matrix)


def interpolate(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """[N, C, H, W] -> [N, C, height, width], computed in float64."""
    rows, columns = align_corners_matrix(x.shape[-2], height), align_corners_matrix(x.shape[-1], width)
    return (rows @ x.double() @ columns.T).float()


@operator
def upsample_bilinear(
    *, x: torch.Tensor, scale_factor_height: Any = 1, scale_factor_width: Any = 1, align_corners: Any = True
) -> torch.Tensor:
    """[..., H1, W1] -> [..., H2, W2], H2 = floor(H1 * scale_factor_height); spacing (Xin - 1) / (Xout - 1)."""
    require(bool(align_corners), "upsample_bilinear: only align_corners=True is evaluated")
    height = int(np.floor(x.shape[-2] * float(scale_factor_height)))
    return interpolate(x, height, int(np.floor(x.shape[-1] * float(scale_factor_width))))


@operator
def resize_bilinear(
    *, x: torch.Tensor, target_size_height: Any = 1, target_size_width: Any = 1, sampling_mode: str = "DEFAULT"
) -> torch.Tensor:
    """[..., H, W] -> the target's size; STRICT_ALIGN_CORNERS: spacing (Xin - 1) / (Xout - 1)."""
    require(sampling_mode == "STRICT_ALIGN_CORNERS", f"resize_bilinear: {sampling_mode} is not evaluated")
    return interpolate(x, int(target_size_height), int(target_size_width))


@operator
def concat(*, values: list[torch.Tensor], axis: Any, interleave: Any = False) -> torch.Tensor:
    """Tensors of any shape, which differ along ``axis`` alone."""
    require(not bool(interleave), "concat: interleave is not evaluated")
    return torch.cat(values, dim=int(axis))


@operator
def pad(*, x: torch.Tensor, pad: Any, mode: str = "constant", constant_val: Any = 0.0) -> torch.Tensor:
    """``x`` of any shape; ``pad`` [2 N] holds (before, after) of the last N dimensions, first of them first."""
    require(mode == "constant", f"pad: mode {mode!r} is not evaluated")
    amounts = [int(p) for p in pad]
    pairs = [amounts[i : i + 2] for i in range(0, len(amounts), 2)]
    backwards = [p for pair in reversed(pairs) for p in pair]  # torch starts at the last dimension
    return torch.nn.functional.pad(x, backwards, value=float(constant_val))


@operator
def batch_norm(
    *, x: torch.Tensor, mean: Any, variance: Any, gamma: Any = 1.0, beta: Any = 0.0, epsilon: Any = 1e-5
) -> torch.Tensor:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, each [C], over axis 1 of [N, C, H, W]."""
    mean, variance, gamma, beta = (torch.as_tensor(v).reshape(1, -1, 1, 1) for v in (mean, variance, gamma, beta))
    return gamma * (x - mean) / torch.sqrt(variance + epsilon) + beta


@operator
def max_pool(
    *, x: torch.Tensor, kernel_sizes: Any, pad_type: str, strides: Any = None, pad: Any = None, ceil_mode: Any = False
) -> torch.Tensor:
    """The largest of each window of [N, C, H, W]; windows lie inside, whatever ``pad`` says."""
    require(pad_type == "valid", f"max_pool: pad_type {pad_type!r} is not evaluated")
    require(not bool(ceil_mode), "max_pool: ceil_mode is not evaluated")
    steps = None if strides is None else tuple(int(s) for s in strides)
    return torch.nn.functional.max_pool2d(x, tuple(int(k) for k in kernel_sizes), stride=steps)


@operator
def reduce_mean(*, x: torch.Tensor, axes: Any, keep_dims: Any = False) -> torch.Tensor:
    """The mean over ``axes`` of ``x``, of any shape."""
    return x.mean(dim=[int(axis) for axis in axes], keepdim=bool(keep_dims))


@operator
def transpose(*, x: torch.Tensor, perm: Any) -> torch.Tensor:
    """``x``, of any shape, with its axes in the order ``perm``."""
    return x.permute([int(axis) for axis in perm])


@operator
def reshape(*, x: torch.Tensor, shape: Any) -> torch.Tensor:
    """``x``, of any shape, in another one, of which one size may be left open as -1."""
    return x.reshape([int(size) for size in shape])


@operator
def constexpr_cast(*, source_val: torch.Tensor, output_dtype: str) -> torch.Tensor:
    """A float16 constant of any shape, as float32."""
    require(output_dtype == "fp32", f"constexpr_cast: {output_dtype} is not evaluated")
    return source_val


@operator
def cast(*, x: torch.Tensor, dtype: str) -> torch.Tensor:
    """``x`` of any shape, rounded to ``dtype``."""
    require(dtype in ("fp16", "fp32"), f"cast: {dtype} is not evaluated")
    return x.half().float() if dtype == "fp16" else x


@operator
def quantize(
    *, input: torch.Tensor, scale: torch.Tensor, output_dtype: str, zero_point: Any = 0, axis: Any = None
) -> torch.Tensor:
    """clip(round(input / scale) + zero_point), of any shape; halves to even, as coremltools rounds them."""
    require(axis is None, "quantize: only one scale is evaluated")
    low, high = RANGES[output_dtype]
    return torch.clamp(torch.round(input / scale) + zero_point, low, high)


@operator
def dequantize(*, input: torch.Tensor, scale: torch.Tensor, zero_point: Any = 0, axis: Any = None) -> torch.Tensor:
    """scale * (input - zero_point), of any shape."""
    require(axis is None, "dequantize: only one scale is evaluated")
    return scale * (input - zero_point)


@operator
def constexpr_affine_dequantize(
    *, quantized_data: torch.Tensor, zero_point: torch.Tensor, scale: torch.Tensor, axis: Any
) -> torch.Tensor:
    """scale * (quantized_data - zero_point), of any shape; vectors [C] along ``axis``."""
    shape = [1] * quantized_data.ndim
    shape[int(axis)] = -1

    def along(values: torch.Tensor) -> torch.Tensor:
        require(values.ndim == 0 or len(values) == quantized_data.shape[int(axis)], "a scale per channel is missing")
        return values.reshape(shape) if values.ndim else values

    return along(scale) * (quantized_data - along(zero_point))
