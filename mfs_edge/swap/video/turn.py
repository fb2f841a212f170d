"""How a stored picture is turned and mirrored before it is shown: a phone held upright stores it lying."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from mfs_edge.base.extras import require

_ROWS, _COLUMNS, _BOTH = 0, 1, -1


@dataclass(frozen=True)
class Turn:
    """One of the eight ways; a matrix that names none of them exactly counts as the nearest, and stays as it is."""

    matrix: tuple[int, ...] | None = None  # the display matrix: nine numbers, in 16.16 and 2.30 fixed point

    @property
    def swaps(self) -> bool:
        """Whether an upright picture is as wide as a stored one is high."""
        if self.matrix is None:
            return False
        a, b, _, c, d, *_ = self.matrix
        return abs(b) + abs(c) > abs(a) + abs(d)

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        """As people see it: uint8 [H, W, 3] of a stored picture [H, W, 3], or [W, H, 3]."""
        cv2 = require("cv2", "swap")
        if self.swaps:
            pixels = cv2.transpose(pixels)
        flips = self._flips()
        return pixels if flips is None else cv2.flip(pixels, flips)

    def stored(self, pixels: np.ndarray) -> np.ndarray:
        """As it is stored: the inverse of :meth:`upright`, uint8 [H, W, 3]."""
        cv2 = require("cv2", "swap")
        flips = self._flips()
        if flips is not None:
            pixels = cv2.flip(pixels, flips)
        return cv2.transpose(pixels) if self.swaps else pixels

    def _flips(self) -> int | None:
        """What to mirror behind the transposition, in OpenCV's numbers."""
        if self.matrix is None:
            return None
        a, b, _, c, d, *_ = self.matrix  # x' = a x + c y, y' = b x + d y
        across, down = (c < 0, b < 0) if self.swaps else (a < 0, d < 0)
        if across and down:
            return _BOTH
        return _COLUMNS if across else _ROWS if down else None


def of(matrix: bytes | None) -> Turn:
    """From the nine numbers beside a frame; None where there are none."""
    if matrix is None:
        return Turn()
    numbers = struct.unpack("=9i", matrix)
    return Turn(None if numbers[:2] == (1 << 16, 0) and numbers[3:5] == (0, 1 << 16) else numbers)
