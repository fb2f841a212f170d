"""Layers of torch networks as nodes, batch norms folded into the convolution before them.

Folded in float64, rounded to float32 once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import CheckpointError
from mfs_edge.graph.net import Net
from mfs_edge.networks import spec

Tensors = Mapping[str, np.ndarray]


class Layers(Net):
    """float32 nodes over one checkpoint's tensors at a time; names of nodes are the checkpoint's keys."""

    def __init__(self) -> None:
        super().__init__(np.dtype(np.float32))

    def conv(
        self,
        name: str,
        x: ir.Value,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        stride: int = 1,
        pad: int = 0,
    ) -> ir.Value:
        """A dense convolution, weight [O, I, h, w], bias [O]; rounded here.

        Raises:
            CheckpointError: a weight is beyond float32.
        """
        with np.errstate(over="ignore"):
            stored = self.constant(f"{name}.weight", weight)
            biases = [] if bias is None else [self.constant(f"{name}.bias", bias)]
        for value in (stored, *biases):
            if value.const_value is None or not np.isfinite(value.const_value.numpy()).all():
                raise CheckpointError(f"folded weight {value.name} overflows float32; the checkpoint is not usable")
        return self.op(
            name,
            "Conv",
            x,
            stored,
            *biases,
            kernel_shape=list(weight.shape[2:]),
            strides=[stride, stride],
            pads=[pad] * 4,
            group=1,
        )

    def normalised(
        self, name: str, x: ir.Value, tensors: Tensors, conv: str, norm: str, *, stride: int = 1, pad: int = 0
    ) -> ir.Value:
        """The convolution ``conv`` and the batch norm ``norm`` behind it, as one."""
        scale, shift = affine(tensors, norm)
        weight = scaled(tensors[f"{conv}.weight"], scale)
        bias = shift + scale * tensors.get(f"{conv}.bias", np.zeros(1)).astype(np.float64)
        return self.conv(name, x, weight, bias, stride=stride, pad=pad)

    def norm(self, name: str, x: ir.Value, tensors: Tensors, key: str) -> ir.Value:
        """A batch norm on its own: before a padded convolution its shift must not reach the border."""
        scale, shift = (part[None, :, None, None] for part in affine(tensors, key))
        product = self.op(f"{name}.scaled", "Mul", x, self.constant(f"{name}.scale", scale))
        return self.op(name, "Add", product, self.constant(f"{name}.shift", shift))

    def leaky(self, name: str, x: ir.Value, slope: np.ndarray | float) -> ir.Value:
        """PReLU with one slope, too: a number, or a checkpoint's [1]; ``x`` is of any shape."""
        return self.op(name, "LeakyRelu", x, alpha=float(np.ravel(slope)[0]))


def affine(tensors: Tensors, key: str) -> tuple[np.ndarray, np.ndarray]:
    """A batch norm as x * scale + shift, [C] each, in float64."""
    gain, bias, mean, variance = (
        tensors[f"{key}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / np.sqrt(variance + spec.BATCH_NORM_EPS)
    return scale, bias - mean * scale


def scaled(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """A float32 weight [O, I, h, w] times ``scale`` [O], rounded once; a channel at a time, as weights are large."""
    product = np.empty_like(weight, order="C")
    with np.errstate(over="ignore"):  # whoever stores it looks
        for channel, factor in enumerate(scale):
            product[channel] = weight[channel] * factor
    return product
