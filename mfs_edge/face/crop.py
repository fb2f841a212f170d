"""From a picture to what ArcFace reads: an aligned face crop."""

from __future__ import annotations

import numpy as np

from mfs_edge.base import extras, images
from mfs_edge.base.errors import IdentityError
from mfs_edge.face import align
from mfs_edge.face import landmarks as points

MIN_PHOTO = 32  # fewer pixels than this are no face


def arcface_input(image: np.ndarray, name: str, landmarks: np.ndarray | None = None) -> np.ndarray:
    """float32 [112, 112, 3] RGB in 0..255: what ArcFace reads, from an aligned crop or a whole photo."""
    cv2 = extras.require("cv2", "compile")
    height, width = image.shape[:2]
    if landmarks is not None:
        points.check(landmarks, width, height, name)
        image = align.align(image, landmarks, align.CROP)
    elif height != width:
        raise IdentityError(
            f"{name}: is {width}x{height}, but an aligned face crop is square; "
            "crop it, or give the whole photo with --landmarks FILE (five x,y points)"
        )
    elif height < MIN_PHOTO:
        raise IdentityError(f"{name}: is only {width}x{height} pixels; use a crop of at least 112x112")
    elif height > align.CROP:
        image = images.resize(image, align.CROP)
    # Bilinear, and not rounded to bytes again: from 224 px it is the mean of 2x2 pixels.
    side = align.ARCFACE_INPUT
    resized: np.ndarray = cv2.resize(image.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    return resized
