"""A mark that people see: what metadata cannot say once it is removed, or on a screen that does not show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfs_edge.base import extras

TEXT = "AI: face swapped"
SHORT = "AI"
_SHARE = 0.03  # of the shorter side: the height of a capital letter
_LEAST = 9  # pixels of a capital letter that can be read
_CAPITAL = 21  # pixels of one in OpenCV's font at scale 1
_WIDEST = 0.9  # of the picture's width
_WHITE, _SHADE = (255, 255, 255), 0.25  # the ground under the letters keeps that much of its light


def draw(pixels: np.ndarray, text: str = TEXT) -> bool:
    """Write ``text`` into the lower right corner, white on dark, so that it can be read on anything.

    The letters grow with the picture. Where the words do not fit at a size that can be read it is "AI" alone.

    Args:
        pixels: uint8 [H, W, 3] RGB, changed in place.
        text: plain ASCII, which is what the font has.

    Returns:
        Whether there was room for it; if not, nothing is drawn.
    """
    height, width = pixels.shape[:2]
    wished = max(_LEAST, _SHARE * min(height, width))
    for words, capital in ((text, wished), (text, _LEAST), (SHORT, _LEAST)):
        placed = _place(words, capital)
        if placed.width <= _WIDEST * width and placed.height <= height:
            _write(pixels, placed)
            return True
    return False


@dataclass(frozen=True)
class _Words:
    text: str
    scale: float
    thick: int
    width: int  # with the margin around it
    height: int
    margin: int
    below: int  # pixels from the letters' line to the lower edge


def _place(text: str, capital: float) -> _Words:
    cv2 = extras.require("cv2", "swap")
    scale, margin = capital / _CAPITAL, max(2, round(capital / 2))
    thick = max(1, round(capital / 10))
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    return _Words(text, scale, thick, width + 2 * margin, height + base + 2 * margin, margin, base + margin)


def _write(pixels: np.ndarray, words: _Words) -> None:
    cv2 = extras.require("cv2", "swap")
    corner = pixels[pixels.shape[0] - words.height :, pixels.shape[1] - words.width :]
    ground = np.ascontiguousarray(corner * _SHADE, np.uint8)
    at = (words.margin, words.height - words.below)
    cv2.putText(ground, words.text, at, cv2.FONT_HERSHEY_SIMPLEX, words.scale, _WHITE, words.thick, cv2.LINE_AA)
    corner[...] = ground
