"""From a picture to what ArcFace reads: an aligned face crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfs_edge.base import extras, images
from mfs_edge.base.errors import IdentityError
from mfs_edge.face import align
from mfs_edge.face import landmarks as points
from mfs_edge.face.landmark_files import Landmarks
from mfs_edge.face.landmarks import Alignment

MIN_PHOTO = 32  # fewer pixels than this are no face


@dataclass(frozen=True)
class Crop:
    """An aligned face."""

    image: np.ndarray  # uint8 [S, S, 3] RGB
    landmarks: np.ndarray | None = None  # float64 [5, 2], pixels of the picture
    alignment: Alignment | None = None  # of landmarks

    @property
    def arcface_input(self) -> np.ndarray:
        """float32 [112, 112, 3] RGB in 0..255: what ArcFace reads."""
        cv2 = extras.require("cv2", "compile")
        # Bilinear, and not rounded to bytes again: from 224 px it is the mean of 2x2 pixels.
        side = align.ARCFACE_INPUT
        resized: np.ndarray = cv2.resize(self.image.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
        return resized


def crop(image: np.ndarray, name: str, landmarks: Landmarks | None = None) -> Crop:
    """The aligned face in a picture: all of a square one, or what landmarks say.

    Args:
        image: uint8 [H, W, 3] RGB.
        name: of the picture, for messages.
        landmarks: of a face in it.

    Raises:
        IdentityError: it is no aligned face, or the landmarks cannot be those of one.
    """
    height, width = image.shape[:2]
    if landmarks is not None:
        pixels = landmarks.pixels(width, height)
        alignment = points.check(pixels, width, height, name)
        found = Crop(align.align(image, pixels, align.CROP), pixels, alignment)
        points.check_contrast(found.image, name)
        return found
    if height != width:
        raise IdentityError(
            f"{name}: is {width}x{height}, but an aligned face crop is square; "
            "crop it, or give the whole photo with --landmarks FILE (five x,y points)"
        )
    if height < MIN_PHOTO:
        raise IdentityError(f"{name}: is only {width}x{height} pixels; use a crop of at least 112x112")
    return Crop(images.resize(image, align.CROP) if height > align.CROP else image)


def arcface_input(image: np.ndarray, name: str, landmarks: Landmarks | None = None) -> np.ndarray:
    """float32 [112, 112, 3] RGB in 0..255: what ArcFace reads of a picture, uint8 [H, W, 3]; see :func:`crop`."""
    return crop(image, name, landmarks).arcface_input
