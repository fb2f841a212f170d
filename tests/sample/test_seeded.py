"""Seeded weights: bit for bit those that the golden tensors were computed with."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from mfs_edge.sample import seeded

# CRC-32 of the float32 bytes that the authors' side of the golden data drew.
DRAWN = {
    ("arcface", "conv1.weight", 7): 0xDF14CA79,
    ("arcface", "layer2.0.prelu._weight", 7): 0xEE52E8B7,
    ("arcface", "layer3.5.bn1.weight", 7): 0x3CFEBD53,
    ("arcface", "layer1.0.se.fc.0.weight", 7): 0xBD84ECE5,
    ("iin", "EncoderModulation.2.style.weight", 7): 0xBEF50C8D,
    ("iin", "final.1.bias", 7): 0xC20CBA39,
    ("iin", "mask.3.1.weight", 2026): 0x42A24DBF,
}


@pytest.mark.parametrize(("network", "key", "seed"), list(DRAWN))
def test_tensors_are_those_of_the_golden_data(network: str, key: str, seed: int) -> None:
    value = seeded.tensor(key, seeded.paddle_shapes(network), seed)
    assert value.dtype == np.float32
    assert zlib.crc32(value.tobytes()) == DRAWN[network, key, seed]


def test_statistics_come_from_outside_and_the_rest_from_the_seed() -> None:
    shapes = seeded.paddle_shapes("iin")
    statistics = {f"iin/{k}": np.full(s, 3.0) for k, s in shapes.items() if k.endswith(("_mean", "_variance"))}
    state = seeded.network_state("iin", seed=11, statistics=statistics)
    assert state.keys() == shapes.keys()
    assert all(value.dtype == np.float32 and value.shape == shapes[key] for key, value in state.items())
    assert (state["final.2._mean"] == 3).all()
    assert not np.array_equal(state["final.1.weight"], seeded.tensor("final.1.weight", shapes, 12))
