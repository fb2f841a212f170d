"""The IIN in torch against the authors' folded weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.networks import iin, loading
from mfs_edge.networks.idn import IDN

Arrays = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def state(golden_iin: Checkpoint, golden_identity: Identity) -> dict[str, torch.Tensor]:
    network = loading.instantiate(iin.IIN, golden_iin.tensors)
    embedding, feature_map = (torch.from_numpy(x) for x in (golden_identity.embedding, golden_identity.feature_map))
    return network(embedding[None], feature_map[None])


def test_golden_weights(golden: Arrays, state: dict[str, torch.Tensor]) -> None:
    judged = [name.removeprefix("folded/") for name in golden if name.startswith("folded/")]
    weights = [key for key in judged if key.endswith(".weight")]
    assert len(weights) == 18  # nine stages, depthwise and pointwise
    for key in weights:
        expected = golden[f"folded/{key}"].reshape(state[key].shape)
        assert np.abs(state[key].numpy() - expected).max() <= 1e-5 * np.abs(expected).max(), key


def test_its_output_is_the_idns_whole_state(state: dict[str, torch.Tensor]) -> None:
    IDN().load_state_dict({**state, **counters()}, strict=True)


def counters() -> dict[str, torch.Tensor]:
    return {key: value for key, value in IDN().state_dict().items() if key.endswith("num_batches_tracked")}


def test_official_keys_load_strictly(golden_iin: Checkpoint) -> None:
    tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in golden_iin.tensors.items()}
    iin.IIN().load_state_dict(tensors, strict=True)
    with pytest.raises(RuntimeError, match=r"mask\.6"):
        iin.IIN().load_state_dict({**tensors, "mask.6.weight": torch.ones(1)}, strict=True)


def test_demodulated_weights_have_unit_norm(state: dict[str, torch.Tensor]) -> None:
    norms = state["Encoder.4.1.weight"].square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(norms, torch.ones_like(norms))
