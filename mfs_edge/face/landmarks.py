"""Five landmarks from a file, and whether they can be those of a face in a picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mfs_edge.base import files, text
from mfs_edge.base.errors import IdentityError, InputError
from mfs_edge.face import align

MAX_SIDE = 32766  # OpenCV warps nothing larger


def read(path: Path) -> np.ndarray:
    """Five x, y points from a text file (commas or blanks) or JSON; float64 [5, 2].

    Raises:
        InputError: it does not hold exactly ten finite numbers.
    """
    written = text.read(files.require_file(path, "landmarks"), "landmarks")
    try:
        values = json.loads(written) if written.lstrip().startswith(("[", "{")) else written.replace(",", " ").split()
        points = np.asarray(values, dtype=np.float64).reshape(5, 2)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: does not hold five x,y points; write ten numbers, two to a line") from error
    if not np.isfinite(points).all():
        raise InputError(f"{path}: has landmarks that are not finite; write ten numbers, two to a line")
    return points


def check(landmarks: np.ndarray, width: int, height: int, name: str) -> None:
    """Whether these can be the landmarks of a face in a picture of this size.

    Args:
        landmarks: float [5, 2], pixels x, y: both eyes, the nose, both mouth corners, left to right.
        width, height: of the picture, in pixels.
        name: of the picture, for messages.

    Raises:
        IdentityError: one of them lies outside, or they would mirror the face.
    """
    outside = ((landmarks < 0) | (landmarks > (width, height))).any(axis=1)
    if outside.any():
        x, y = landmarks[outside][0]
        raise IdentityError(
            f"{name}: landmark {int(outside.argmax()) + 1} at {x:g},{y:g} lies outside the {width}x{height} picture; "
            "give pixels of this very picture"
        )
    if np.linalg.det(align.affine(landmarks, align.CROP)[:, :2]) <= 0:
        raise IdentityError(
            f"{name}: the landmarks would mirror the face; give of the eyes, and of the mouth corners, "
            "the one on the picture's left first"
        )
    if max(width, height) > MAX_SIDE:
        raise IdentityError(f"{name}: is {width}x{height} pixels, more than {MAX_SIDE} on a side; make it smaller")
