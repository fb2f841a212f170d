"""Pictures to what a file takes, and back."""

from __future__ import annotations

import numpy as np
import pytest

from mfs_edge.base import frames

IMAGE = np.random.default_rng(0).random((1, 3, 8, 8), dtype=np.float32)
MASK = np.zeros((1, 8, 8, 1), np.float32)


def test_inputs_and_outputs_are_adapted_to_the_file() -> None:
    taken = frames.as_taken(IMAGE, (1, 8, 8, 3), "uint8")
    assert (taken.dtype, taken.shape) == (np.uint8, (1, 8, 8, 3))
    told = frames.as_told({"a": taken, "b": MASK})
    assert np.abs(told["swapped"] - IMAGE).max() <= 0.5 / 255 + 1e-6
    assert told["mask"].shape == (1, 1, 8, 8)
    np.testing.assert_array_equal(frames.as_taken(IMAGE, (1, 3, 8, 8), "float32"), IMAGE)


def test_values_beyond_white_are_clipped_not_wrapped() -> None:
    assert (frames.as_taken(np.full_like(IMAGE, 1.2), (1, 8, 8, 3), "uint8") == 255).all()


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (1, 16, 16, 3), (3, 8)])
def test_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="this file takes"):
        frames.as_taken(IMAGE, shape, "float32")


@pytest.mark.parametrize(
    "outputs", [{}, {"a": IMAGE}, {"a": IMAGE, "b": np.zeros((1, 8, 8, 2), np.float32)}, {"a": np.zeros(3)}]
)
def test_outputs_that_are_no_face_swaps(outputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"not a swapped picture|a face swap gives"):
        frames.as_told(outputs)
