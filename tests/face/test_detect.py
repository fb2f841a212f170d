"""Faces are found where they are, and nowhere else; a larger run is ``benchmarks/faces.py``."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.face import blaze
from mfs_edge.face.detect import Detector
from mfs_edge.face.models import Models
from tests.face import scenes, views

ASTRONAUT = views.picture("astronaut")


@pytest.fixture(scope="module")
def own(detector: Detector) -> np.ndarray:
    """The five points of the picture as it is."""
    (face,) = detector(ASTRONAUT)
    return face.landmarks


def test_a_portrait(detector: Detector, own: np.ndarray) -> None:
    """Within 6 % of the eyes' distance of another detector's points, at the mouth 10 %."""
    known = scenes.portrait().landmarks
    off = np.hypot(*(own - known).T) / np.hypot(*(known[1] - known[0]))
    assert (off[[0, 1, 2]] < 0.06).all(), off
    assert (off[[3, 4]] < 0.10).all(), off


def test_views_of_it(detector: Detector, own: np.ndarray) -> None:
    errors = []
    for number, view in enumerate(views.views(10, seed=3)):
        faces = detector(view.of(ASTRONAUT, number))
        assert len(faces) == 1, view
        errors.append(views.error(faces[0].landmarks, view.points(own, ASTRONAUT.shape)))
    assert (np.array(errors) < 0.06).mean() >= 0.95, errors


def test_a_mirror_swaps_left_and_right_and_changes_nothing_else(detector: Detector, own: np.ndarray) -> None:
    (face,) = detector(np.ascontiguousarray(ASTRONAUT[:, ::-1]))
    assert views.error(face.landmarks, views.View(mirrored=True).points(own, ASTRONAUT.shape)) < 0.02


def test_no_face_where_there_is_none(detector: Detector) -> None:
    found = [len(detector(image)) for image in views.faceless(36, seed=4)]
    assert sum(found) <= 1, found


def test_drawn_faces(detector: Detector) -> None:
    for number in (0, 9, 21, 40):
        photo = scenes.drawn(number, face=120, roll=10)
        (face,) = detector(photo.image)
        assert views.error(face.landmarks, photo.landmarks) < 0.2


def pasted(canvas: np.ndarray, face: float, left: int, top: int, own: np.ndarray) -> np.ndarray:
    """Put the astronaut, of a face ``face`` px wide, into the canvas; where its points [5, 2] are then."""
    view = views.View(face=face)
    small = view.of(ASTRONAUT)
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    points: np.ndarray = view.points(own, ASTRONAUT.shape) + np.array([left, top])
    return points


def test_several_faces_the_largest_first(detector: Detector, own: np.ndarray) -> None:
    canvas = cv2.resize(views.picture("brick"), (1280, 720))
    right = [pasted(canvas, *place, own) for place in ((90, 700, 100), (60, 40, 30), (30, 400, 500))]
    faces = detector(canvas)
    assert [face.track for face in faces] == [0, 1, 2]
    assert [face.eyes for face in faces] == sorted((face.eyes for face in faces), reverse=True)
    for face, points in zip(faces, right, strict=True):
        assert views.error(face.landmarks, points) < 0.08


def test_a_face_of_60_px_in_a_large_picture(detector: Detector, own: np.ndarray) -> None:
    canvas = cv2.resize(views.picture("coffee"), (1920, 1080))
    right = pasted(canvas, 60, 1500, 333, own)
    (face,) = detector(canvas)
    assert views.error(face.landmarks, right) < 0.06


def test_a_face_over_the_border(detector: Detector, own: np.ndarray) -> None:
    left = 205  # through the left eye
    (face,) = detector(np.ascontiguousarray(ASTRONAUT[:, left:]))
    assert np.hypot(*(face.landmarks[1] - own[1] + (left, 0))) < 0.15 * face.eyes
    assert face.landmarks[0, 0] < 5


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1), (30, 8000), (2, 2), (127, 129)])
def test_odd_sizes_hold_no_face(detector: Detector, height: int, width: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert detector(noise) == []


def test_a_long_strip(detector: Detector, own: np.ndarray) -> None:
    canvas = np.full((512, 6000, 3), 120, np.uint8)
    right = pasted(canvas, views.FACE, 4321, 0, own)
    (face,) = detector(canvas)
    assert views.error(face.landmarks, right) < 0.04


def test_grey_and_untouched(detector: Detector, own: np.ndarray) -> None:
    grey = np.repeat(cv2.cvtColor(ASTRONAUT, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    grey.flags.writeable = False
    (face,) = detector(grey)
    assert views.error(face.landmarks, own) < 0.06
    assert np.array_equal(detector(grey)[0].landmarks, face.landmarks)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((9, 9), np.uint8), ((9, 9, 3), np.float64), ((9, 9, 4), np.uint8), ((0, 9, 3), np.uint8)]
)
def test_what_is_no_picture(detector: Detector, shape: tuple[int, ...], dtype: type) -> None:
    image = np.zeros(shape, dtype)
    with pytest.raises(InputError, match=r"uint8 \[H, W, 3\]"):
        detector(image)


def test_thresholds(face_models: Models) -> None:
    for wrong in (0, -1, 1.5, float("nan")):
        with pytest.raises(UsageError, match="threshold"):
            Detector(face_models.detector.parent, wrong)
    assert Detector(face_models.detector.parent, 0.999)(ASTRONAUT) == []


def test_anchors_are_those_of_the_short_range_model() -> None:
    found = blaze.anchors()
    assert found.shape == (896, 2)
    np.testing.assert_array_equal(found[[0, 1, 2, 511, 512, 517, 518, 895]], [
        (4, 4), (4, 4), (12, 4), (124, 124), (8, 8), (8, 8), (24, 8), (120, 120),
    ])  # fmt: skip


def test_overlaps() -> None:
    box = np.array([0.0, 0, 2, 2])
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 3, 3], [1, 1, 1, 1]], float)
    np.testing.assert_allclose(blaze.overlaps(box, others), [1, 1 / 3, 0, 0])
