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


def reduced(image: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What a warp to ``size`` px looks at, made smaller by averaging where the warp would skip pixels.

    Args:
        image: uint8 [H, W, 3] RGB.
        matrix: affine [2, 3], from the picture to the crop.
        size: of the crop.

    Returns:
        A part of the picture, uint8 [h, w, 3], of no pixels if the crop lies outside; and the affine [2, 3] from it.
    """
    cv2 = extras.require("cv2", "compile")
    low, high = _bounds(matrix, image.shape[:2], size)
    part = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
    matrix = matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ low
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if part.size == 0 or scale >= 1:
        return part, matrix
    smaller = np.maximum(np.rint(np.array(part.shape[1::-1]) * scale), 1).astype(int)
    factors = np.array(part.shape[1::-1]) / smaller
    matrix[:, 2] += matrix[:, :2] @ (factors - 1) / 2  # the middle of the pixels that become one
    matrix[:, :2] = matrix[:, :2] @ np.diag(factors)
    return cv2.resize(part, smaller.tolist(), interpolation=cv2.INTER_AREA), matrix


def _bounds(matrix: np.ndarray, shape: tuple[int, ...], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the picture, what the crop shows: upper left and lower right, int [2] x, y."""
    corners = np.array([(0, 0), (side, 0), (0, side), (side, side)]) - matrix[:, 2]
    there = np.linalg.solve(matrix[:, :2], corners.T).T
    size = shape[1::-1]
    low = np.clip(np.floor(there.min(axis=0)) - 2, 0, size).astype(int)
    high = np.clip(np.ceil(there.max(axis=0)) + 2, 0, size).astype(int)
    return low, high
