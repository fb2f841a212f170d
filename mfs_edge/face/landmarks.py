"""Five landmarks, and whether they can be those of the face in a picture.

Every limit here was set by measuring both sides: landmarks that are right (drawn faces, 100
faces of LFW, a portrait, and a model of a head turned by up to 60 degrees, tilted by 25
and rolled by 40; each with a detector's error of 3 to 6 % of the eyes' distance), and those
that are nearly right (other units, sizes and orders, another photo's).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mfs_edge.base.errors import IdentityError
from mfs_edge.face import align, likeness

MAX_SIDE = 32766  # OpenCV warps nothing larger

# A face 40 px wide has its eyes 16 px apart; of the 35 px in the crop, fewer than 8 leave nothing of a person.
MIN_EYES = 8.0
# Worst residual in px of the 112 px crop. Right ones: up to 15.4 with the head turned by 50 degrees; at 60 degrees, 99
# of 100 are below 15.6. Of the 64 orders that do not mirror every face, 61 have at least 16.4 on all; the other
# three turn the face by quarters, which its looks tell.
MAX_RESIDUAL = 16.0
MAX_STRETCH = 3.0  # of the crop's two scales; right ones up to 2.05
MIN_CONTRAST = 4.0  # levels; of the faces, the palest has 11
# Likeness to a face, 0 to 1, of persons and pictures that it was not fitted to (benchmarks/likeness.py). Right ones: of
# drawn faces at least 0.47; of LFW's, 25 px wide with hats, glasses and profiles, 97 of 100 above 0.4; of a
# portrait, 0.7 and more. Wrong places, in these pictures and in others: 92 of 100 below 0.4.
MIN_LIKENESS = 0.4
# Of the eyes' distance, how far over the picture's edge a landmark may lie: a cheek, and a detector's guess; where
# a person is to be read from it. A face that is only swapped may be half beyond.
BEYOND, HALF_BEYOND = 0.3, 1.0
# Another reading of the points (half the size, another order, ...) is taken for the right one if it makes a face, and
# much more surely than the points as they are.
DOUBTFUL = 0.65  # one right face in 20 is below; what is accepted below is told to the user
BETTER = 0.25  # for the other readings, which are few

OR_A_CROP = ", or the aligned square crop without landmarks"

ORDER = "left eye, right eye, nose, left mouth corner, right mouth corner, as seen in the picture"


@dataclass(frozen=True)
class Fit:
    """How well five landmarks fit a face."""

    eye_distance: float  # pixels of the picture
    residual: float  # the worst of the five, in px of the 112 px crop
    likeness: float  # 0 to 1, of the crop to a face


def in_pixels(landmarks: np.ndarray, width: int, height: int) -> np.ndarray:
    """Landmarks [5, 2] in pixels: fractions of the picture, as MediaPipe gives them, are multiplied.

    All five within one pixel of each other and the corner cannot be a face in pixels.
    """
    if (np.abs(landmarks) <= 1.5).all():
        return landmarks * (width, height)
    return landmarks


def check(landmarks: np.ndarray, image: np.ndarray, name: str, *, certain: bool = True) -> Fit:
    """Whether these are the landmarks of a face in this picture.

    Args:
        landmarks: float [5, 2], pixels x, y: both eyes, the nose, both mouth corners, left to right.
        image: uint8 [H, W, 3] RGB.
        name: of the picture, for messages.
        certain: refuse what looks little like a face, or lies far over the edge; else whoever asks has to tell it,
            by the fit.

    Raises:
        IdentityError: they cannot be, or are much more likely something else; says what.
    """
    height, width = image.shape[:2]
    if max(width, height) > MAX_SIDE:
        raise IdentityError(f"{name}: is {width}x{height} pixels, more than {MAX_SIDE} on a side; make it smaller")
    _check_solvable(landmarks, name)
    _check_places(landmarks, width, height, name, BEYOND if certain else HALF_BEYOND)
    residual = _check_shape(landmarks, name)
    found = likeness.score(image, landmarks)
    _check_content(landmarks, image, found, name, certain=certain)
    return Fit(_eye_distance(landmarks), residual, found)


def _check_solvable(landmarks: np.ndarray, name: str) -> None:
    try:
        align.affine(landmarks, align.ARCFACE_INPUT)
    except IdentityError as error:
        raise IdentityError(f"{name}: {error}") from error


def _eye_distance(landmarks: np.ndarray) -> float:
    return float(np.hypot(*(landmarks[1] - landmarks[0])))


def _check_places(landmarks: np.ndarray, width: int, height: int, name: str, share: float) -> None:
    margin = share * _eye_distance(landmarks)
    outside = ((landmarks < -margin) | (landmarks > (width + margin, height + margin))).any(axis=1)
    if outside.any():
        x, y = landmarks[outside][0]
        raise IdentityError(
            f"{name}: landmark {int(outside.argmax()) + 1} at {x:g},{y:g} lies outside the {width}x{height} picture; "
            "give pixels of this very picture"
        )
    enlarged = _enlarged(landmarks)
    eyes = _eye_distance(landmarks)
    if eyes < MIN_EYES / 2 or _frontal(landmarks) < MIN_EYES:
        most = float(align.TEMPLATE[1, 0] - align.TEMPLATE[0, 0]) / MIN_EYES
        raise IdentityError(
            f"{name}: the eyes are {eyes:.3g} px apart in a picture of {width}x{height}, and the face would be "
            f"enlarged {enlarged:.3g} times, at most {most:.2g}; give landmarks in pixels of this very picture, not in "
            "percent or of a smaller copy"
        )


def _enlarged(landmarks: np.ndarray) -> float:
    """How many px of the 112 px crop one of the picture becomes."""
    return float(np.sqrt(abs(np.linalg.det(align.affine(landmarks, align.ARCFACE_INPUT)[:, :2]))))


def _frontal(landmarks: np.ndarray) -> float:
    """The distance in pixels that the eyes would have if the face looked here."""
    enlarged = _enlarged(landmarks)
    return float(align.TEMPLATE[1, 0] - align.TEMPLATE[0, 0]) / enlarged if enlarged else 0.0


def _check_shape(landmarks: np.ndarray, name: str) -> float:
    """The worst residual in px of the 112 px crop."""
    matrix = align.affine(landmarks, align.ARCFACE_INPUT)
    if np.linalg.det(matrix[:, :2]) <= 0:
        raise IdentityError(
            f"{name}: the landmarks would mirror the face; give of the eyes, and of the mouth corners, "
            "the one on the picture's left first, and of each point x before y, counted from the top left"
        )
    mapped = landmarks @ matrix[:, :2].T + matrix[:, 2]
    residual = float(np.hypot(*(mapped - align.TEMPLATE).T).max())
    large, small = np.linalg.svd(matrix[:, :2], compute_uv=False)
    if residual > MAX_RESIDUAL or large > MAX_STRETCH * small:
        raise IdentityError(
            f"{name}: the landmarks do not form a face (worst residual {residual:.3g} of {align.ARCFACE_INPUT} px, "
            f"at most {MAX_RESIDUAL:g}); give in this order: {ORDER}"
        )
    return residual


def shapely(landmarks: np.ndarray) -> bool:
    """Whether five points, float [5, 2] pixels, lie to each other as a face's do, and not too near for a person's."""
    if not np.isfinite(landmarks).all() or _eye_distance(landmarks) < MIN_EYES / 2:
        return False
    try:
        _check_shape(landmarks, "")
    except IdentityError:
        return False
    return _frontal(landmarks) >= MIN_EYES


def _check_content(landmarks: np.ndarray, image: np.ndarray, found: float, name: str, *, certain: bool) -> None:
    contrast = likeness.contrast(image, landmarks)
    if contrast < MIN_CONTRAST:
        raise IdentityError(
            f"{name}: there is nothing to see between the landmarks (contrast {contrast:.2g} of 255 levels); "
            "give pixels of this very picture"
        )
    if found < DOUBTFUL:
        _check_readings(landmarks, image, found, name)
    if certain and found < MIN_LIKENESS:
        raise IdentityError(
            f"{name}: the landmarks do not lie on a face (likeness {found:.2f} of 1, at least {MIN_LIKENESS:g}); give "
            f"those of this very picture, after its EXIF rotation{OR_A_CROP}"
        )


def _check_readings(landmarks: np.ndarray, image: np.ndarray, found: float, name: str) -> None:
    """Whether the points, meant otherwise, lie on a face much more surely than now."""
    best, why = found, ""
    for points, told in _readings(landmarks, image.shape[:2]):
        if (points >= 0).all() and (points <= image.shape[1::-1]).all():
            level = likeness.score(image, points)
            best, why = max((best, why), (level, told))
    if best > max(DOUBTFUL, found + BETTER):
        raise IdentityError(f"{name}: the landmarks do not lie on a face (likeness {found:.2f} of 1), but would {why}")


def _readings(landmarks: np.ndarray, shape: tuple[int, ...]) -> Iterator[tuple[np.ndarray, str]]:
    """What the points could have been meant as: other points in the picture, and what to do then."""
    height, width = shape
    if (landmarks <= 100).all():
        yield landmarks * (width, height) / 100, "as percent of the picture's sides; give pixels"
    for factor in (4, 3, 2, 1 / 2, 1 / 3, 1 / 4):
        size = f"{1 / factor:.2g} times the size" if factor != 2 else "half the size"
        yield landmarks * factor, f"if they are of this photo at {size}; multiply them by {factor:.3g}"
    for turned in ([4, 3, 2, 1, 0], [1, 4, 2, 0, 3], [3, 0, 2, 4, 1]):
        yield landmarks[turned], f"in another order; give {ORDER}"
    x, y = landmarks.T
    for points in ((width - x, height - y), (width - y, x), (y, height - x)):
        yield np.column_stack(points), "before the picture's EXIF rotation; give pixels of it as it is shown"
