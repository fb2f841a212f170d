"""Synthetic networks of any seed, with batch-norm statistics taken by running them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mfs_edge.fold import FoldedIDN, fold
from mfs_edge.graph import statistics
from mfs_edge.load.checkpoint import from_state
from mfs_edge.load.identity import Identity
from mfs_edge.networks import loading, spec
from mfs_edge.networks.idn import IDN
from mfs_edge.networks.iin import IIN
from mfs_edge.sample import seeded


def folded(seed: int) -> FoldedIDN:
    """A random network folded for a random identity, both functions of ``seed``."""
    identity = _identity(seed)
    state = _checkpoint_state(seed)
    network = loading.instantiate(IIN, {key: value.numpy() for key, value in _torch_keys(seed, state).items()})
    _take_statistics(network.predictor, torch.from_numpy(identity.feature_map)[None])
    weights = network(torch.from_numpy(identity.embedding)[None], torch.from_numpy(identity.feature_map)[None])
    idn = loading.instantiate(IDN, {key: value.numpy() for key, value in weights.items()})
    pictures = np.concatenate([*statistics.drawn_faces(96, range(32, 36)), *statistics.noise(96)])
    _take_statistics(idn, torch.from_numpy(pictures))
    calibrated = {key: value for key, value in network.state_dict().items() if key.startswith("predictor.")}
    calibrated |= {key: value for key, value in idn.state_dict().items() if key.startswith(("final.", "mask."))}
    for key, value in calibrated.items():
        if key.endswith(("running_mean", "running_var")):
            leaf = key.replace("running_mean", "_mean").replace("running_var", "_variance")
            state[leaf] = value.numpy()
    return fold(from_state(state, expect="iin", source=f"seed {seed}", sha256="0" * 64), identity)


def random_weights(seed: int, *, spread: float) -> dict[str, np.ndarray]:
    """An IDN's weights, float32, drawn without an IIN.

    Args:
        seed: any integer >= 0.
        spread: layers are scaled by 10**u with u in -spread..spread, independently, so that
            activations and weights take extreme values; the batch norms' statistics match.
    """
    rng = np.random.default_rng(seed)
    state = {}
    with torch.device("meta"):
        shapes = IDN().state_dict()
    for key, value in shapes.items():
        if key.endswith("num_batches_tracked"):
            continue
        noise = rng.standard_normal(value.shape)
        fan_in = float(np.prod(value.shape[1:])) if value.ndim == 4 else 1.0
        state[key] = noise * np.sqrt(2 / fan_in) if value.ndim == 4 else 0.3 * noise
        if key.endswith("running_var"):
            state[key] = np.ones(value.shape)
    level = 0.0
    for branch, stages, (depthwise, pointwise) in (("Encoder", 5, "01"), ("Decoder", 4, "01"), ("mask", 5, "12")):
        for i in range(stages):
            inner, outer = rng.uniform(-spread, spread, 2)  # log10 of the activations behind the two convs
            state[f"{branch}.{i}.{depthwise}.weight"] *= 10 ** (inner - level)
            state[f"{branch}.{i}.{pointwise}.weight"] *= 10 ** (outer - inner)
            level = 0.0 if branch == "mask" else outer
    idn = loading.instantiate(IDN, {key: value.astype(np.float32) for key, value in state.items()}, dtype=torch.float64)
    _take_statistics(idn, torch.from_numpy(rng.random((6, 3, 32, 32))))
    return {
        key: value.numpy().astype(np.float32)
        for key, value in idn.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def _identity(seed: int) -> Identity:
    rng = np.random.default_rng([seed, 1])
    embedding = rng.standard_normal(spec.EMBEDDING).astype(np.float32)
    feature_map = rng.standard_normal(spec.FEATURE_MAP).astype(np.float32)
    return Identity(embedding / np.linalg.norm(embedding), feature_map)


def _checkpoint_state(seed: int) -> dict[str, np.ndarray]:
    shapes = seeded.paddle_shapes("iin")
    neutral = {key: np.ones(shape) if key.endswith("_variance") else np.zeros(shape) for key, shape in shapes.items()}
    return seeded.network_state("iin", seed=seed, statistics={f"iin/{key}": value for key, value in neutral.items()})


def _torch_keys(seed: int, state: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    checkpoint = from_state(state, expect="iin", source=f"seed {seed}", sha256="0" * 64)
    return {key: torch.from_numpy(np.array(value)) for key, value in checkpoint.tensors.items()}


def _take_statistics(network: nn.Module, sample: torch.Tensor) -> None:
    """One pass in training mode, after which the batch norms hold the sample's statistics."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()
    network(sample)
    network.eval()
