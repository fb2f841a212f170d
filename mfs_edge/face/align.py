"""A face warped onto the template that the networks were trained on (DESIGN section 2, "Alignment")."""

from __future__ import annotations

import numpy as np

from mfs_edge.base import extras
from mfs_edge.base.errors import IdentityError

CROP = 224  # the aligned crop that ArcFace's input is reduced from
ARCFACE_INPUT = 112  # pixels, and the size that the template is for

# Five landmarks (eyes, nose, mouth corners) in a 112 px crop; DESIGN section 2, "Alignment".
TEMPLATE = np.array(
    [(30.2946, 51.6963), (65.5318, 51.5014), (48.0252, 71.7366), (33.5493, 92.3655), (62.7299, 92.2041)]
) + np.array([8.0, 0.0])


def affine(landmarks: np.ndarray, size: int) -> np.ndarray:
    """The least-squares affine [2, 3] that takes ``landmarks`` onto the template at ``size`` px."""
    if not np.isfinite(landmarks).all():  # LAPACK does not come back from infinity
        raise IdentityError("landmarks are not finite; give x,y of both eyes, the nose and both mouth corners")
    points = np.column_stack([landmarks, np.ones(len(landmarks))])
    solution: np.ndarray
    solution, _, rank, _ = np.linalg.lstsq(points, TEMPLATE * size / ARCFACE_INPUT, rcond=None)
    if rank < 3:
        raise IdentityError(
            "the five landmarks lie on one line; give x,y of both eyes, the nose and both mouth corners"
        )
    return solution.T


def align(image: np.ndarray, landmarks: np.ndarray, size: int) -> np.ndarray:
    """The face in ``image``, warped to a [size, size, 3] crop."""
    cv2 = extras.require("cv2", "compile")
    crop: np.ndarray = cv2.warpAffine(image, affine(landmarks, size), (size, size), flags=cv2.INTER_LINEAR)
    return crop


def cut(frame: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """What ``matrix`` [2, 3], of :func:`affine`, makes of a whole frame, uint8 [H, W, 3]: the crop [size, size, 3].

    The frame's border is repeated beyond it, so that the half of a face over the edge is not black.
    """
    cv2 = extras.require("cv2", "swap")
    crop: np.ndarray = cv2.warpAffine(
        frame, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return crop
