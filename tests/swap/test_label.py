"""The visible mark: readable on anything, at any size that has room for it."""

from __future__ import annotations

import numpy as np
import pytest

from mfs_edge.swap import label


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize(("height", "width"), [(2160, 3840), (720, 1280), (1280, 720), (240, 320), (64, 64), (20, 30)])
def test_light_letters_on_a_dark_ground(height: int, width: int, level: int) -> None:
    pixels = np.full((height, width, 3), level, np.uint8)
    assert label.draw(pixels)
    changed = np.argwhere((pixels != level).any(axis=2))
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
    corner = pixels[top : bottom + 1, left : right + 1]
    assert corner.max() > 230
    assert np.percentile(corner, 20) <= 64
    assert height - bottom <= max(8, 0.15 * height)
    assert width - right <= max(8, 0.15 * width)
    assert np.array_equal(corner[..., 0], corner[..., 2])


def letters(height: int, width: int) -> int:
    """How many rows have something light in them."""
    pixels = np.zeros((height, width, 3), np.uint8)
    label.draw(pixels)
    return int((pixels.max(axis=(1, 2)) > 128).sum())


def test_the_letters_grow_with_the_picture_and_never_fall_below_what_can_be_read() -> None:
    heights = [letters(side, 16 * side // 9) for side in (120, 480, 1080, 2160)]
    assert heights == sorted(heights)
    assert heights[0] >= 8
    assert heights[-1] > 3 * heights[0]


def test_a_narrow_picture_gets_the_short_form() -> None:
    narrow, wide = np.zeros((100, 60, 3), np.uint8), np.zeros((100, 400, 3), np.uint8)
    assert label.draw(narrow)
    assert label.draw(wide)
    assert (wide > 128).any(axis=2).sum() > 3 * (narrow > 128).any(axis=2).sum()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (4, 1000), (1000, 10)])
def test_where_there_is_no_room_nothing_is_drawn_and_that_is_said(height: int, width: int) -> None:
    pixels = np.full((height, width, 3), 9, np.uint8)
    assert not label.draw(pixels)
    assert (pixels == 9).all()


def test_of_a_view_only_the_view_changes() -> None:
    whole = np.full((300, 500, 3), 200, np.uint8)
    assert label.draw(whole[50:250, 100:400])
    whole[50:250, 100:400] = 200
    assert (whole == 200).all()
