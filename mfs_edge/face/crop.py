"""From a picture to what ArcFace reads: an aligned face crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfs_edge.base import extras, images
from mfs_edge.base.errors import IdentityError
from mfs_edge.face import align
from mfs_edge.face import landmarks as points

MIN_PHOTO = 32  # fewer pixels than this are no face


@dataclass(frozen=True)
class Aligned:
    """A face as it was understood."""

    picture: np.ndarray  # uint8 [S, S, 3] RGB, S at most 224
    landmarks: np.ndarray | None = None  # float [5, 2], pixels of the photo; None: it came aligned
    fit: points.Fit | None = None


def aligned(image: np.ndarray, name: str, landmarks: np.ndarray | None = None) -> Aligned:
    """The face in a picture: uint8 [H, W, 3] RGB, a square crop of it or a whole photo with ``landmarks`` [5, 2].

    Raises:
        IdentityError: there is no such face; says what is wrong with the picture or the landmarks.
    """
    height, width = image.shape[:2]
    if landmarks is not None:
        placed = points.in_pixels(landmarks, width, height)
        fit = points.check(placed, image, name)
        return Aligned(align.align(image, placed, align.CROP), placed, fit)
    if height != width:
        raise IdentityError(
            f"{name}: is {width}x{height}, but an aligned face crop is square; "
            "crop it, or give the whole photo with --landmarks FILE (five x,y points)"
        )
    if height < MIN_PHOTO:
        raise IdentityError(f"{name}: is only {width}x{height} pixels; use a crop of at least 112x112")
    return Aligned(images.resize(image, align.CROP) if height > align.CROP else image)


def arcface_input(image: np.ndarray, name: str, landmarks: np.ndarray | None = None) -> np.ndarray:
    """float32 [112, 112, 3] RGB in 0..255: what ArcFace reads, from an aligned crop or a whole photo."""
    return reduced(aligned(image, name, landmarks).picture)


def reduced(picture: np.ndarray) -> np.ndarray:
    """float32 [112, 112, 3] in 0..255 of an aligned crop."""
    cv2 = extras.require("cv2", "compile")
    # Bilinear, and not rounded to bytes again: from 224 px it is the mean of 2x2 pixels.
    side = align.ARCFACE_INPUT
    resized: np.ndarray = cv2.resize(picture.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    return resized
