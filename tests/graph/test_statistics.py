"""Calibration statistics are those of the graph as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge.base.errors import UsageError
from mfs_edge.graph import passes, statistics
from tests.graph.conftest import random_images
from tests.graph.torch_evaluator import evaluate

Plain = Callable[[int], ir.Model]


def test_channel_maxima(plain: Plain) -> None:
    model = passes.optimise(plain(64))
    images = random_images(64, 3)
    found = statistics.channel_maxima(model, images, ["encoder.2.depthwise", "mask"])
    values = [evaluate(model, image) for image in images]
    for name, channels in (("encoder.2.depthwise", 64), ("mask", 1)):
        expected = np.max([np.abs(value[name]).max(axis=(0, 2, 3)) for value in values], axis=0)
        assert found[name].shape == (channels,)
        np.testing.assert_allclose(found[name], expected, rtol=1e-4)


def test_images_are_taken_one_at_a_time(plain: Plain) -> None:
    model, taken = plain(32), []

    def stream() -> Iterator[np.ndarray]:
        for number, image in enumerate(random_images(32, 3)):
            taken.append(number)
            yield image

    for seen, values in enumerate(statistics.observe(model, stream(), ["mask"]), start=1):
        assert len(taken) == seen
        assert list(values) == ["mask"]


def test_default_images_are_the_calibration_share_and_noise() -> None:
    first, second = ([*statistics.drawn_faces(64, statistics.FACES), *statistics.noise(64)] for _ in range(2))
    assert len(first) == 32 + statistics.NOISE
    assert all(image.shape == (1, 3, 64, 64) and image.dtype == np.float32 for image in first)
    assert all(image.min() >= 0 and image.max() <= 1 for image in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_no_images(plain: Plain) -> None:
    with pytest.raises(UsageError, match="no calibration image"):
        statistics.channel_maxima(plain(32), [], ["mask"])


def test_a_graph_without_a_size(plain: Plain) -> None:
    model = plain(32)
    assert statistics.image_size(model) == 32
    model.graph.inputs[0].shape = ir.Shape([1, 3, "S", "S"])
    with pytest.raises(UsageError, match="no fixed size"):
        statistics.image_size(model)
