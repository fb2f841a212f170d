"""What verification measures."""

from __future__ import annotations

import numpy as np
import pytest

from mfs_edge.base import fidelity
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.sample.pictures import exam_pictures
from mfs_edge.verify.reference import on_each, reference_of


def test_psnr_of_a_known_error() -> None:
    assert fidelity.psnr(np.full((4, 4), 0.01)) == pytest.approx(40)


def test_equality_is_the_ceiling_and_nan_is_nothing() -> None:
    assert fidelity.psnr(np.zeros(3)) == fidelity.PSNR_CEILING
    assert fidelity.psnr(np.array([0, np.nan])) == 0


class Constant:
    """A runner that always answers the same."""

    def __init__(self, value: float) -> None:
        self.value = value

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return {"swapped": np.full_like(image, self.value), "mask": np.full_like(image[:, :1], self.value)}


def test_mean_and_worst_are_told_apart() -> None:
    images = [np.zeros((1, 3, 8, 8), np.float32)] * 2
    expected = [Constant(0.5).run(image) for image in images]
    expected[1] = {name: value + 0.1 for name, value in expected[1].items()}
    found = fidelity.compare(Constant(0.5 + 1e-3), images, expected)["swapped"]
    assert found.psnr_worst == pytest.approx(20, abs=0.1)
    assert found.psnr_mean == pytest.approx(40, abs=0.1)
    assert found.max_abs == pytest.approx(0.099, rel=1e-3)


def test_nan_in_an_output_never_passes() -> None:
    images = [np.zeros((1, 3, 8, 8), np.float32)]
    found = fidelity.compare(Constant(float("nan")), images, [Constant(0).run(images[0])])
    assert not fidelity.passes(found, 1)
    assert np.isfinite(found["mask"].max_abs)


def test_both_outputs_must_pass() -> None:
    good, bad = fidelity.Fidelity(0, 90, 90), fidelity.Fidelity(1, 10, 10)
    assert fidelity.passes({"swapped": good, "mask": good}, 80)
    assert not fidelity.passes({"swapped": good, "mask": bad}, 80)


def test_several_at_a_time_give_the_same_bits(demo_iin: Checkpoint, demo_identities: list[Identity]) -> None:
    reference = reference_of(demo_iin, demo_identities[0])
    images = exam_pictures(64)
    for image, found in zip(images, on_each(reference, images), strict=True):
        assert all(np.array_equal(found[name], value) for name, value in reference(image).items())


@pytest.mark.parametrize("size", [32, 224])
def test_inputs_are_images(size: int) -> None:
    for image in exam_pictures(size):
        assert image.shape == (1, 3, size, size)
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1
