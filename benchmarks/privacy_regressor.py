"""What a regression finds that knows nothing of the network's structure; a part of ``benchmarks/privacy.py``.

It learns the embedding from what a pack holds of identities that the attacker drew: the logarithms of every depthwise
channel's length and of the 544 demodulations, 2,435 numbers, by ridge regression.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.privacy_local import cosine, summary
from mfs_edge.fold import FoldedIDN, Stage, fold
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.networks import spec

MAPS, TRAIN, TEST = 60, 5000, 100  # feature maps drawn; identities that share them; and held out, of maps of their own
RIDGE = 1e-3  # of the mean square of a feature
Array = np.ndarray


def row(title: str, checkpoint: Checkpoint, feature_map: Array) -> dict[str, Any]:
    """Cosines over held-out identities of random embeddings, whose maps are like ``feature_map`` [512, 7, 7]."""
    random = np.random.default_rng(0)
    spread = feature_map.std()
    folded = []
    for _ in range(MAPS):
        drawn = feature_map * random.uniform(0, 2, feature_map.shape) + random.normal(0, spread / 2, feature_map.shape)
        folded.append(
            fold(checkpoint, Identity(np.eye(1, spec.EMBEDDING, dtype=np.float32)[0], drawn.astype(np.float32)))
        )
    embeddings = random.standard_normal((TRAIN + TEST, spec.EMBEDDING))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    shared, own = folded[: MAPS * 3 // 4], folded[MAPS * 3 // 4 :]
    features = np.stack(
        [_features(checkpoint, _of(shared if i < TRAIN else own, i), e) for i, e in enumerate(embeddings)]
    )
    features = (features - features[:TRAIN].mean(axis=0)) / features[:TRAIN].std(axis=0)
    train, test = features[:TRAIN], features[TRAIN:]
    normal = train.T @ train + RIDGE * TRAIN * np.eye(train.shape[1])
    found = test @ np.linalg.solve(normal, train.T @ embeddings[:TRAIN])
    cosines = [cosine(one, true) for one, true in zip(found, embeddings[TRAIN:], strict=True)]
    return {"checkpoint": title, "file": "-", "from": "a regression", **summary(cosines)}


def _of(folded: list[FoldedIDN], number: int) -> FoldedIDN:
    return folded[number % len(folded)]


def _features(checkpoint: Checkpoint, folded: FoldedIDN, embedding: Array) -> Array:
    """[2435] of the kernels of ``folded`` with the gains of another embedding."""

    def of(name: str, stage: Stage) -> Stage:
        weight, bias = (checkpoint.tensors[f"{name}.style.{part}"] for part in ("weight", "bias"))
        return Stage(stage.kernel, stage.weight, 1 + weight @ embedding + bias)

    encoder = [of(f"EncoderModulation.{i}", stage) for i, stage in enumerate(folded.encoder)]
    decoder = [of(f"DecoderModulation.{i}", stage) for i, stage in enumerate(folded.decoder)]
    other = FoldedIDN(tuple(encoder), tuple(decoder), folded.heads)
    held = [value for name, value in other.exact("identity-local").items() if "coder." in name and ".0." in name]
    lengths = [np.linalg.norm(value.reshape(len(value), -1), axis=1) for value in held if value.shape[1] == 1]
    ends = [other.encoder[-1].demodulation, other.decoder[-1].demodulation]
    features: Array = np.log(np.concatenate([*lengths, *ends]) + 1e-9)
    return features
