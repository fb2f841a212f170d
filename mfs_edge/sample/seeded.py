"""Weights that depend only on (seed, key): synthetic checkpoints of any seed.

Used for the parts of the demo that were not trained, and for test checkpoints. The draws
are made in Paddle's layout (Linear ``[in, out]``, ``_mean`` / ``_variance`` / ``_weight``)
because the keys and shapes are part of the seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from mfs_edge.networks import spec

Shapes = Mapping[str, tuple[int, ...]]


def paddle_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Checkpoint keys and shapes of ``network`` as Paddle writes them."""
    shapes = spec.NETWORK_SHAPES[network]()
    norms = {key.rsplit(".", 1)[0] for key in shapes if key.endswith(".running_mean")}
    named = {}
    for key, shape in shapes.items():
        stem, leaf = key.rsplit(".", 1)
        leaf = {"running_mean": "_mean", "running_var": "_variance"}.get(leaf, leaf)
        if shape == (1,) and leaf == "weight" and stem not in norms:
            leaf = "_weight"  # a PReLU's slope
        named[f"{stem}.{leaf}"] = shape[::-1] if len(shape) == 2 else shape
    return named


def tensor(key: str, shapes: Shapes, seed: int) -> np.ndarray:
    """float32 of the shape that ``shapes[key]`` says, a function of ``seed`` and ``key`` alone."""
    shape = shapes[key]
    noise = np.random.default_rng([seed, zlib.crc32(key.encode())]).standard_normal(shape)
    if key.endswith("_weight"):  # PReLU slope
        value = 0.25 + 0.02 * noise
    elif f"{key.rsplit('.', 1)[0]}._mean" in shapes:  # batch norm
        value = 1 + 0.1 * noise if key.endswith(".weight") else 0.1 * noise
    elif key.endswith(".bias"):
        value = 0.05 * noise
    elif ".style.weight" in key:  # modulation of a unit embedding
        value = 0.5 * noise
    else:
        fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        value = noise * np.sqrt(2 / fan_in)
    return value.astype(np.float32)


def network_state(network: str, *, seed: int, statistics: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A whole Paddle state dict.

    Args:
        network: "arcface" or "iin".
        seed: any integer.
        statistics: of batch norms, [C] under ``NETWORK/KEY``; they come from running the networks,
            not from the seed.
    """
    shapes = paddle_shapes(network)
    return {
        key: np.asarray(statistics[f"{network}/{key}"], np.float32)
        if key.endswith(("_mean", "_variance"))
        else tensor(key, shapes, seed)
        for key in shapes
    }
