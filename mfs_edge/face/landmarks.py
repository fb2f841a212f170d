"""Whether five points can be the landmarks of a face in a picture, and what was made of them.

Numbers alone can tell a wrong unit, a wrong order and a face of no size; they cannot tell the points of
another picture that happen to be those of a face. So the crop is shown, see ``pipeline.identify``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfs_edge.base.errors import IdentityError
from mfs_edge.face import align

MAX_SIDE = 32766  # OpenCV warps nothing larger
# Bounds of what heads do, from 10,000 simulated ones (yaw to 60, pitch to 20, roll to 40 degrees, detectors
# wrong by 5 % of the eye distance): residual at most 15.8 px of 112, aspect 2.2, turned 52 degrees. Of the 119
# wrong orders of five points, 60 do not mirror; the best of them that stands upright has a residual of 17.4.
MAX_RESIDUAL = 16.0  # px of 112, of the worst point
MAX_ASPECT = 3.0  # one axis stretched so much more than the other
# Turning a head makes it narrower, nodding hardly shorter: eyes to mouth over eye to eye is never so small. An
# order that goes around the face takes one distance for the other, and turns it by 90 degrees.
MAX_WIDE = 1.32  # of 3,000 heads with yaw to 50 degrees the widest has 1.29
MAX_TURN = 75.0  # degrees; beyond, an order that goes around the face looks like a face on its side
MIN_EYES = 8.0  # px between the eyes: a face of some 20 px
MIN_INSIDE = 0.5  # share of the crop that the picture covers
MIN_CONTRAST = 4.0  # standard deviation of the crop's grey, of 255: less is a wall


@dataclass(frozen=True)
class Alignment:
    """What was understood of landmarks, for people."""

    eyes: float  # px between the eyes, in the picture
    residual: float  # px of a 112 px crop, of the worst point, after the affine fit
    turned: float  # degrees
    inside: float  # share of the crop that the picture covers


def check(landmarks: np.ndarray, width: int, height: int, name: str) -> Alignment:
    """Whether these can be the landmarks of a face in a picture of this size.

    Args:
        landmarks: float [5, 2], pixels x, y: both eyes, the nose, both mouth corners, left to right.
        width, height: of the picture, in pixels.
        name: of the picture, for messages.

    Raises:
        IdentityError: one of them lies outside, or they are no face: what looks wrong, and what to give.
    """
    if max(width, height) > MAX_SIDE:
        raise IdentityError(f"{name}: is {width}x{height} pixels, more than {MAX_SIDE} on a side; make it smaller")
    outside = ((landmarks < 0) | (landmarks > (width, height))).any(axis=1)
    if outside.any():
        x, y = landmarks[outside][0]
        raise IdentityError(
            f"{name}: landmark {int(outside.argmax()) + 1} at {x:g},{y:g} lies outside the {width}x{height} picture; "
            "give pixels of this very picture"
        )
    eyes = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    if eyes < MIN_EYES:
        raise IdentityError(
            f"{name}: the landmarks put the eyes {eyes:.3g} px apart in a picture of {width}x{height}; "
            "give pixels of this very picture, of a face of 20 px or more"
        )
    return _plausible(landmarks, eyes, width, height, name)


def _plausible(landmarks: np.ndarray, eyes: float, width: int, height: int, name: str) -> Alignment:
    matrix = align.affine(landmarks, align.ARCFACE_INPUT)
    linear = matrix[:, :2]
    order = (
        "give the eye on the picture's left, the other eye, the nose, the left corner of the mouth, the other corner"
    )
    if np.linalg.det(linear) <= 0:
        raise IdentityError(f"{name}: the landmarks would mirror the face; {order}")
    fitted = np.column_stack([landmarks, np.ones(len(landmarks))]) @ matrix.T
    residual = float(np.linalg.norm(fitted - align.TEMPLATE, axis=1).max())
    stretch = np.linalg.svd(linear, compute_uv=False)
    across, down = np.linalg.norm(np.linalg.inv(linear), axis=0)
    if residual > MAX_RESIDUAL or stretch[0] > MAX_ASPECT * stretch[1] or across > MAX_WIDE * down:
        raise IdentityError(
            f"{name}: the landmarks do not lie as those of a face (worst off by {residual:.0f} of 112 px, one axis "
            f"stretched {stretch[0] / stretch[1]:.1f} times the other); {order}"
        )
    turned = float(np.degrees(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])))
    if abs(turned) > MAX_TURN:
        raise IdentityError(
            f"{name}: the landmarks turn the face by {abs(turned):.0f} degrees; turn the picture upright, or {order}"
        )
    inside = _inside(matrix, width, height)
    if inside < MIN_INSIDE:
        raise IdentityError(
            f"{name}: only {inside:.0%} of the face's crop lie inside the {width}x{height} picture; "
            "give pixels of this very picture, or one with the whole face"
        )
    return Alignment(eyes, residual, turned, inside)


def _inside(matrix: np.ndarray, width: int, height: int) -> float:
    """The share of the crop's pixels that come from within the picture."""
    side = (np.arange(align.ARCFACE_INPUT) + 0.5)[:, None]
    grid = np.stack(np.broadcast_arrays(side.T, side), axis=-1).reshape(-1, 2)
    places = (grid - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    return float(((places >= 0) & (places <= (width, height))).all(axis=1).mean())


def check_contrast(crop: np.ndarray, name: str) -> None:
    """Whether an aligned crop, uint8 [S, S, 3], shows anything.

    Raises:
        IdentityError: it is of one colour, or nearly.
    """
    contrast = float(crop.astype(np.float32).mean(axis=2).std())
    if contrast < MIN_CONTRAST:
        raise IdentityError(
            f"{name}: the face's crop is all but one colour (contrast {contrast:.1f} of 255); "
            "give a picture of a face, and landmarks in pixels of this very picture"
        )
