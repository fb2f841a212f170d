"""What a file or pack in the identity-local form says of its identity; a part of ``benchmarks/privacy.py``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from mfs_edge.fold import FoldedIDN
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.networks import spec

HEADS = ("final.", "mask.")
DEPTH = len(spec.ENCODER_CHANNELS) - 1
Array = np.ndarray


@dataclass(frozen=True)
class Held:
    """What a file or pack of ``precision`` says of its identity, as read by whoever has the checkpoint."""

    precision: str
    encoder: tuple[Array, ...]  # kernels [C, 4, 4], stage 0 first
    deepest: Array  # demodulations of the last encoder stage, [512]
    last: Array  # of the last decoder stage, [32]


def held(folded: FoldedIDN, precision: str) -> Held:
    """The identity-local form, rounded as a file of ``precision`` does it: float32, float16, or codes in -127..127
    with a float32 scale per channel (of the tail's 1x1: per output)."""
    exact = folded.exact("identity-local")
    kernels = tuple(rounded(exact[f"Encoder.{i}.0.weight"][:, 0], precision) for i in range(DEPTH))
    mask, tail = (rounded(exact[name], precision) for name in ("mask.0.1.weight", "final.1.weight"))
    shared = {name: folded.heads[name].astype(np.float64) for name in ("mask.0.1.weight", "final.1.weight")}
    deepest = fitted(mask, shared["mask.0.1.weight"], axis=(1, 2, 3))
    return Held(precision, kernels, deepest, fitted(tail, shared["final.1.weight"], axis=(0, 2, 3)))


def read(path: Path, checkpoint: Checkpoint) -> Held:
    """The same of a float32 ``.onnx``: there the tail's batch norm and the input's range are folded in."""
    stored = {name: value.const_value for name, value in ir.load(path).graph.initializers.items()}

    def tensor(name: str) -> Array:
        value = stored[name]
        assert value is not None
        return value.numpy().astype(np.float64)

    public = {name: value.astype(np.float64) for name, value in checkpoint.tensors.items() if name.startswith(HEADS)}
    norm = public["final.2.weight"] / np.sqrt(public["final.2.running_var"] + spec.BATCH_NORM_EPS)
    kernels = [tensor(f"Encoder.{i}.0.weight")[:, 0] for i in range(DEPTH)]
    kernels[0] /= 2  # of 2 x - 1
    deepest = fitted(tensor("mask.0.1.weight"), public["mask.0.1.weight"], axis=(1, 2, 3))
    tail = public["final.1.weight"] * norm[:, None, None, None]
    return Held("fp32", tuple(kernels), deepest, fitted(tensor("final.1.weight"), tail, axis=(0, 2, 3)))


def rounded(values: Array, precision: str) -> Array:
    """float64 of what is left of ``values`` [C, ...] in a file."""
    if precision != "int8":
        return values.astype({"fp32": np.float32, "fp16": np.float16}[precision]).astype(np.float64)
    largest = np.abs(values).reshape(len(values), -1).max(axis=1)
    scale = np.where(largest, largest / 127, 1).astype(np.float32).astype(np.float64)
    scale = scale.reshape(-1, *[1] * (values.ndim - 1))
    return np.clip(np.round(values / scale), -127, 127) * scale


def fitted(stored: Array, shared: Array, *, axis: tuple[int, ...]) -> Array:
    """The factors by which ``shared`` was multiplied, least squares over ``axis``."""
    factors: Array = (stored * shared).sum(axis=axis) / (shared**2).sum(axis=axis)
    return factors
