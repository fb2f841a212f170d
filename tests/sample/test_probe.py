"""The picture that tells whether two sessions are the same."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.sample import probe
from mfs_edge.verify.reference import reference_of


@pytest.mark.parametrize("size", [32, 224, 256])
def test_the_picture_is_whole_bytes_and_places_lie_inside(size: int) -> None:
    picture, places = probe.picture(size), probe.places(size)
    assert (picture.shape, picture.dtype) == ((1, 3, size, size), np.float32)
    np.testing.assert_array_equal(np.rint(picture * 255) / np.float32(255), picture)
    assert places.shape == (probe.PLACES, 2)
    assert places.min() >= 0
    assert places.max() < size
    np.testing.assert_array_equal(picture, probe.picture(size))


def test_it_is_the_same_picture_on_every_machine() -> None:
    """A manifest written elsewhere is about it."""
    levels = np.rint(probe.picture(224) * 255).astype(np.uint8)
    digest = hashlib.sha256(levels.tobytes() + probe.places(224).astype("<i4").tobytes()).hexdigest()
    assert digest == "71d89f12954966f9d2904fe00f54ccd439103cfe1724ba38883108614d4c2c1c"


def test_the_networks_find_a_face_in_it(demo_iin: Checkpoint, demo_identities: list[Identity]) -> None:
    """Where nothing is masked the swapped picture is the input, and would say little."""
    outputs = reference_of(demo_iin, demo_identities[0])(probe.picture(224))
    assert outputs["mask"].max() > 0.9
    assert np.abs(outputs["swapped"] - probe.picture(224)).max() > 0.1


def test_text_and_back() -> None:
    values = np.random.default_rng(0).random((probe.PLACES, 4))
    assert np.abs(probe.decode(probe.encode(values)) - values).max() < 1e-5
    assert min(probe.levels(values, probe.decode(probe.encode(values))).values()) > 100
    with pytest.raises(ValueError, match=r"."):
        probe.decode("no such thing")
