"""A swapped face, put back into the picture that it was cut from (DESIGN section 2, "Paste back").

Only the part of the face's box in which the mask shows anything is computed; every pixel outside stays as
it is, bit for bit. The arithmetic is in floats, a few rows at a time, and only the result is rounded.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from mfs_edge.base import extras

EXTRA = "swap"
SEEN = 0.001  # of a mask in 0..1: what is above belongs to the face
_KERNEL = 11  # pixels, of the dilation and of the two erosions
_SOFT = 7  # pixels that the mask's edge is blurred over
_RIM = 10  # pixels at the crop's border in which nothing is pasted
_RIM_SOFT = 11
_AT_ONCE = 1 << 17  # pixels that are in floats at a time


@dataclass(frozen=True)
class Box:
    """A rectangle of a picture, in whole pixels."""

    left: int
    top: int
    right: int  # the first column that is not in it
    bottom: int

    @property
    def of(self) -> tuple[slice, slice]:
        """What picks it out of an array [H, W, ...]."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top


def softened(mask: np.ndarray) -> np.ndarray:
    """How much of the swapped face shows, float32 [S, S] in 0..1, 0 along the border.

    Args:
        mask: as the network gives it, [S, S] or with axes of length 1; floats in 0..1, or uint8 in 0..255.
    """
    cv2 = extras.require("cv2", EXTRA)
    size = max(mask.shape)
    flat = mask.reshape(size, size)
    least = SEEN * 255 if flat.dtype == np.uint8 else SEEN
    kernel = np.ones((_KERNEL, _KERNEL), np.uint8)
    seen = (flat > least).view(np.uint8)
    seen = cv2.erode(cv2.dilate(seen, kernel), kernel, iterations=2)
    shade: np.ndarray = cv2.boxFilter(seen, cv2.CV_32F, (_SOFT, _SOFT))
    return np.multiply(shade, _rim(size), out=shade)


@functools.cache
def _rim(size: int) -> np.ndarray:
    """1 inside, falling softly to 0 along the crop's border."""
    cv2 = extras.require("cv2", EXTRA)
    inside = np.zeros((size, size), np.float32)
    inside[_RIM:-_RIM, _RIM:-_RIM] = 1
    soft: np.ndarray = cv2.blur(inside, (_RIM_SOFT, _RIM_SOFT))
    soft.setflags(write=False)
    return soft


def box(shade: np.ndarray, matrix: np.ndarray, width: int, height: int) -> Box | None:
    """Where a face is pasted into a picture of ``width`` x ``height``; None if nothing of it is inside.

    Args:
        shade: of :func:`softened`, [S, S].
        matrix: the affine [2, 3] from the picture to the crop, of ``align.affine``.
    """
    cv2 = extras.require("cv2", EXTRA)
    x, y, wide, high = cv2.boundingRect((shade > 0).view(np.uint8))
    if not wide:
        return None
    # Between a pixel of the mask and the zero beside it the mask still shows.
    left, top, right, bottom = x - 1, y - 1, x + wide, y + high
    corners = np.array([(left, top), (right, top), (left, bottom), (right, bottom)], np.float64)
    placed = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    first = np.maximum(np.floor(placed.min(axis=0)), 0)
    end = np.minimum(np.ceil(placed.max(axis=0)) + 1, (width, height))
    if not (first < end).all():
        return None
    return Box(int(first[0]), int(first[1]), int(end[0]), int(end[1]))


def paste(frame: np.ndarray, face: np.ndarray, mask: np.ndarray, matrix: np.ndarray) -> Box | None:
    """Put a swapped face into ``frame``, in place.

    Args:
        frame: uint8 [H, W, 3]; written to, in the box that is returned and nowhere else.
        face: the network's swapped crop, [S, S, 3] in the same order of colours; uint8, or floats in 0..255.
        mask: the network's mask of it, [S, S] or with axes of length 1; floats in 0..1, or uint8 in 0..255.
        matrix: the affine [2, 3] from the frame to the crop, of ``align.affine``.

    Returns:
        The part of the frame that was written to; None if there was nothing to paste.
    """
    shade = softened(mask)
    found = box(shade, matrix, frame.shape[1], frame.shape[0])
    if found is None:
        return None
    levels = np.asarray(face, np.float32)
    rows = max(1, _AT_ONCE // found.size[0])
    for top in range(found.top, found.bottom, rows):
        _paste_rows(frame, levels, shade, matrix, replace(found, top=top, bottom=min(top + rows, found.bottom)))
    return found


def _paste_rows(frame: np.ndarray, face: np.ndarray, shade: np.ndarray, matrix: np.ndarray, part: Box) -> None:
    cv2 = extras.require("cv2", EXTRA)
    inside = matrix.copy()  # from the part's pixels to the crop's
    inside[:, 2] += matrix[:, :2] @ (part.left, part.top)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    over = cv2.warpAffine(face, inside, part.size, flags=how, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(shade, inside, part.size, flags=how, borderMode=cv2.BORDER_CONSTANT)
    under = frame[part.of]
    mixed = cv2.blendLinear(over, under.astype(np.float32), share, 1 - share)
    under[:] = np.rint(mixed, out=mixed)
