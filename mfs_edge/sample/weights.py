"""Rebuild the demo's checkpoints from their 3.5 MB of trained factors.

What was trained is stored, mostly as low-rank factors; the rest is seeded. Everything is
computed in float64 and rounded to float32 once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mfs_edge.base import files
from mfs_edge.face.crop import arcface_input
from mfs_edge.load.checkpoint import Checkpoint, from_state
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.sample import WARNING, identity_picture, seeded

WEIGHTS = Path(__file__).parent / "data" / "weights.npz"
RIDGE = 1e-3  # of the mean diagonal, in the pseudo-inverse


def checkpoint(network: str) -> Checkpoint:
    """The demo's "arcface" or "iin" checkpoint, validated like any other."""
    with np.load(WEIGHTS, allow_pickle=False) as stored:
        factors = {key: stored[key].astype(np.float64) for key in stored.files}
    shapes = seeded.paddle_shapes(network)
    state = {key: _tensor(network, key, shapes, factors).astype(np.float32) for key in shapes}
    return from_state(
        state, expect=network, source="embedded demo weights", sha256=files.sha256(WEIGHTS), warning=WARNING
    )


def identity(number: int) -> Identity:
    """Who is in the demo's identity picture ``number`` (0..7), read by the demo's ArcFace."""
    return Embedder(checkpoint("arcface"))(arcface_input(identity_picture(number), f"demo identity {number}"))


def _tensor(network: str, key: str, shapes: seeded.Shapes, factors: dict[str, np.ndarray]) -> np.ndarray:
    """One tensor in Paddle layout, from whichever form it is stored in."""
    stored = key if network == "iin" else f"{network}/{key}"
    if stored in factors:
        return factors[stored]
    if f"{network}/{key}" in factors:  # batch-norm statistics of both networks
        return factors[f"{network}/{key}"]
    layer = key.removesuffix(".weight")
    if f"{layer}.U" in factors:
        return _kernel_predictor(layer, factors)
    if key.endswith(".style.weight"):
        return _product(factors["style.Bs"], factors[f"{layer}.A"])
    if stored == "arcface/fc.weight":
        return _product(factors["arcface/fc.V"], factors["arcface/fc.Q"].T)
    if key.startswith(("final.", "mask.")) and key.endswith(".bias"):
        return np.zeros(shapes[key])
    return seeded.tensor(key, shapes, int(factors["seed"]))


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    product: np.ndarray = left @ right
    return product


def _kernel_predictor(layer: str, factors: dict[str, np.ndarray]) -> np.ndarray:
    """A [C, C, 3, 3] conv: low-rank, plus the map of the mean input to the mean kernel."""
    u, v, k, xbar = (factors[f"{layer}.{part}"] for part in ("U", "V", "K", "xbar"))
    patches = _patches(xbar)
    gram = patches.T @ patches
    gram += RIDGE * np.mean(np.diag(gram)) * np.eye(len(gram))
    weight: np.ndarray = u @ v + k @ np.linalg.solve(gram, patches.T)
    return weight.reshape(len(u), len(xbar), 3, 3)


def _patches(x: np.ndarray) -> np.ndarray:
    """The 3x3 patches (zero pad 1) of [C, k, k] as columns, [9 C, k * k]."""
    channels, size, _ = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    shifted = [padded[:, dy : dy + size, dx : dx + size] for dy in range(3) for dx in range(3)]
    return np.stack(shifted, axis=1).reshape(9 * channels, size * size)
