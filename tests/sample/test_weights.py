"""The rebuilt demo: what the people who trained it measured, and that it really swaps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from mfs_edge import sample
from mfs_edge.base import fidelity, images
from mfs_edge.face.crop import arcface_input
from mfs_edge.fold import fold
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.networks import loading
from mfs_edge.networks.idn import IDN
from mfs_edge.sample import weights
from mfs_edge.verify.reference import reference_of

Arrays = Mapping[str, np.ndarray]
JUDGED = range(3)


@pytest.fixture(scope="module")
def arcface() -> Checkpoint:
    return weights.checkpoint("arcface")


@pytest.fixture(scope="module")
def identities(arcface: Checkpoint) -> list[Identity]:
    """All eight, from their pictures."""
    embed = Embedder(arcface)
    pictures = (sample.identity_picture(i) for i in range(sample.IDENTITIES))
    return [embed(arcface_input(picture, "demo")) for picture in pictures]


def test_warned_and_validated(arcface: Checkpoint, demo_iin: Checkpoint) -> None:
    for checkpoint, network in ((arcface, "arcface"), (demo_iin, "iin")):
        assert checkpoint.network == network
        assert checkpoint.warning == sample.WARNING
        assert "not for photographs" in sample.WARNING
        assert checkpoint.source == "embedded demo weights"
        assert len(checkpoint.sha256) == 64


@pytest.mark.parametrize("number", JUDGED)
def test_identity_from_the_picture(check: Arrays, identities: list[Identity], number: int) -> None:
    found = identities[number]
    np.testing.assert_allclose(found.embedding, check["identity/embedding"][number], atol=1e-4, rtol=0)
    expected = check["identity/feature_map"][number].reshape(512, 7, 7)
    np.testing.assert_allclose(found.feature_map, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("number", JUDGED)
def test_folded_kernels(check: Arrays, demo_iin: Checkpoint, identities: list[Identity], number: int) -> None:
    found = fold(demo_iin, identities[number]).weights()
    prefix = f"{number}/folded/"
    judged = [key for key in check if key.startswith(prefix)]
    assert len(judged) >= 9
    for key in judged:
        weight = found[key.removeprefix(prefix)]
        np.testing.assert_allclose(weight, check[key].reshape(weight.shape), atol=1e-4, rtol=0, err_msg=key)


@pytest.mark.parametrize("number", JUDGED)
def test_outputs(check: Arrays, demo_iin: Checkpoint, identities: list[Identity], number: int) -> None:
    image = images.to_nchw(sample.target(int(check[f"{number}/target"])))
    found = reference_of(demo_iin, identities[number])(image)
    np.testing.assert_allclose(found["swapped"][0], check[f"{number}/output"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(found["mask"][0], check[f"{number}/mask"], atol=1e-4, rtol=0)


def test_swaps_come_near_the_teachers(demo_iin: Checkpoint, identities: list[Identity]) -> None:
    networks = [loading.instantiate(IDN, fold(demo_iin, who).weights()) for who in identities]
    swapped, copied = [], []
    for who, number in sample.answers():
        target = images.to_nchw(sample.target(number))
        answer = images.to_nchw(sample.answer(who, number))
        output, _mask = networks[who](torch.from_numpy(target))
        swapped.append(fidelity.psnr(output.numpy() - answer))
        copied.append(fidelity.psnr(target - answer))
    assert len(swapped) == 32
    assert {who for who, _ in sample.answers()} == set(range(sample.IDENTITIES))
    assert np.mean(swapped) >= 23.5
    assert np.mean(copied) == pytest.approx(17.85, abs=0.1)


def test_faces() -> None:
    assert sample.target(63).shape == sample.identity_picture(7).shape == (224, 224, 3)
    assert sample.target(0).dtype == np.uint8
