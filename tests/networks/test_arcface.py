"""ArcFace against the authors' own run of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from mfs_edge.face.crop import arcface_input
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.networks import arcface, loading

Arrays = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def found(golden: Arrays, golden_arcface: Checkpoint) -> Identity:
    return Embedder(golden_arcface)(arcface_input(golden["identity/image"], "golden"))


def test_golden_embedding(golden: Arrays, found: Identity) -> None:
    expected = golden["identity/embedding"].ravel().astype(np.float64)
    cosine = found.embedding @ expected / np.linalg.norm(expected) / np.linalg.norm(found.embedding)
    assert cosine >= 0.999999
    assert abs(np.linalg.norm(found.embedding) - 1) < 1e-6


def test_golden_feature_map(golden: Arrays, found: Identity) -> None:
    expected = golden["identity/feature_map"].reshape(512, 7, 7)
    assert np.abs(found.feature_map - expected).max() / np.abs(expected).max() <= 1e-4


def test_official_keys_load_strictly(golden_arcface: Checkpoint) -> None:
    state = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in golden_arcface.tensors.items()}
    arcface.ArcFace().load_state_dict(state, strict=True)
    del state["fc.bias"]
    with pytest.raises(RuntimeError, match=r"fc\.bias"):
        arcface.ArcFace().load_state_dict(state, strict=True)


def test_weights_are_used_where_they_lie(golden_arcface: Checkpoint) -> None:
    network = loading.instantiate(arcface.ArcFace, golden_arcface.tensors)
    assert network.conv1.weight.data_ptr() == golden_arcface.tensors["conv1.weight"].ctypes.data
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
