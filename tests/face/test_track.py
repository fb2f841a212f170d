"""Faces keep their numbers, are found again after a cut, and tremble less."""

from __future__ import annotations

import json
from collections.abc import Iterable

import cv2
import numpy as np
import pytest

from mfs_edge.face import smooth
from mfs_edge.face.detect import Detector
from mfs_edge.face.found import Face
from mfs_edge.face.track import Tracker, cut, thumbnail
from tests.face import views

ASTRONAUT = views.picture("astronaut")
RATE = 30


class Counted(Detector):
    """A detector that counts how often it looks over a picture."""

    looks = 0

    def sightings(self, image: np.ndarray, *, finest: int = 99) -> list:  # type: ignore[type-arg]
        self.looks += 1
        return super().sightings(image, finest=finest)


@pytest.fixture
def counted(detector: Detector) -> Counted:
    found = Counted.__new__(Counted)
    found.__dict__.update(detector.__dict__)
    return found


def head(face: float) -> tuple[np.ndarray, np.ndarray]:
    """The astronaut's head, uint8 [h, w, 3], and an oval mask [h, w, 1] around it."""
    small = views.View(face=face).of(ASTRONAUT)
    scale = face / views.FACE
    left, top, right, bottom = (round(scale * side) for side in (140, 20, 310, 210))
    part = small[top:bottom, left:right]
    mask = np.zeros(part.shape[:2], np.float32)
    middle = (part.shape[1] // 2, part.shape[0] // 2)
    cv2.ellipse(mask, middle, (middle[0] - 3, middle[1] - 3), 0, 0, 360, 1, -1)
    return part, cv2.GaussianBlur(mask, (0, 0), 2)[..., None]


def scene(*heads: tuple[float, float, float], size: tuple[int, int] = (640, 360), back: str = "gravel") -> np.ndarray:
    """Heads (face px, x, y of their middles), the last one in front."""
    canvas = cv2.resize(views.picture(back), size).astype(np.float32)
    for face, x, y in heads:
        part, mask = head(face)
        matrix = np.array([[1, 0, x - part.shape[1] / 2], [0, 1, y - part.shape[0] / 2]])
        placed = cv2.warpAffine(part, matrix, size, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        alpha = cv2.warpAffine(mask, matrix, size)[..., None]
        canvas += alpha * (placed - canvas)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def tracked(tracker: Tracker, frames: Iterable[np.ndarray]) -> list[list[Face]]:
    return [tracker(frame, number / RATE) for number, frame in enumerate(frames)]


def test_a_still_scene_with_noise(counted: Counted) -> None:
    picture = cv2.resize(ASTRONAUT, (300, 300), interpolation=cv2.INTER_AREA)
    for sigma in (5, 10):
        found = {}
        for smoothed in (False, True):
            rng = np.random.default_rng(sigma)
            noisy = (np.clip(picture + rng.normal(0, sigma, picture.shape), 0, 255).astype(np.uint8) for _ in range(40))
            faces = tracked(Tracker(counted, smoothed), noisy)
            assert {len(some) for some in faces} == {1}
            assert {some[0].track for some in faces} == {0}
            found[smoothed] = np.array([some[0].landmarks for some in faces])[8:]
        assert found[True].std(axis=0).mean() < 0.5 * found[False].std(axis=0).mean()
        assert smooth.jitter(found[True]) < 0.5 * smooth.jitter(found[False])
    assert counted.looks < 20  # of 160 frames


@pytest.mark.parametrize("pixels", [1, 20])
def test_a_moving_face(detector: Detector, pixels: int) -> None:
    places = [100 + pixels * number for number in range(20)]
    faces = tracked(Tracker(detector), (scene((80, x, 180)) for x in places))
    assert [[face.track for face in some] for some in faces] == [[0]] * 20
    still = detector(scene((80, places[0], 180)))[0].landmarks
    behind = [x - places[0] - (some[0].landmarks - still)[:, 0].mean() for x, some in zip(places, faces, strict=True)]
    assert abs(np.mean(behind[8:])) < pixels


def test_two_that_cross_keep_their_numbers(detector: Detector) -> None:
    """One passes in front of the other, which is hidden meanwhile."""
    frames = [scene((70, 120 + 9 * n, 170), (90, 520 - 9 * n, 185)) for n in range(44)]
    faces = tracked(Tracker(detector), frames)
    assert len(faces[0]) == 2
    behind, front = (next(f.track for f in faces[0] if (f.eyes > 35) is large) for large in (False, True))
    last = {face.track: face for face in faces[-1]}
    assert set(last) == {behind, front}
    assert last[front].eyes > last[behind].eyes
    assert last[front].landmarks[2, 0] < 200 < 400 < last[behind].landmarks[2, 0]
    assert {face.track for some in faces for face in some} == {0, 1}


def test_a_cut_is_another_scene(counted: Counted) -> None:
    here = [scene((80, 200, 180))] * 4
    there = [scene((80, 215, 180), back="coffee", size=(640, 360))] * 4
    empty = [cv2.resize(views.picture("rocket"), (640, 360))] * 4
    faces = tracked(Tracker(counted), [*here, *there, *empty, *here])
    assert [[face.track for face in some] for some in faces] == [[0]] * 4 + [[1]] * 4 + [[]] * 4 + [[2]] * 4


def test_light_and_motion_are_no_cut() -> None:
    picture = scene((80, 200, 180))
    for other in (np.clip(picture * 0.5, 0, 255), np.clip(picture * 1.3 + 20, 0, 255), scene((80, 240, 180))):
        assert not cut(thumbnail(picture), thumbnail(other.astype(np.uint8)))
    black, white = (np.full((90, 160, 3), level, np.uint8) for level in (0, 255))
    assert not cut(thumbnail(black), thumbnail(black + 3))
    assert cut(thumbnail(black), thumbnail(white))
    assert cut(thumbnail(picture), thumbnail(views.picture("coffee")))


def test_one_that_is_covered_for_a_moment_comes_back(detector: Detector) -> None:
    shown, covered = scene((80, 200, 180)), scene()
    faces = tracked(Tracker(detector), [*[shown] * 3, *[covered] * 10, *[shown] * 3])
    assert [[face.track for face in some] for some in faces] == [[0]] * 3 + [[]] * 10 + [[0]] * 3


def test_a_new_face_is_found_within_the_period(detector: Detector) -> None:
    alone, both = scene((90, 180, 180)), scene((90, 180, 180), (80, 480, 180))
    faces = tracked(Tracker(detector), [*[alone] * 3, *[both] * 16])
    assert [face.track for face in faces[-1]] == [0, 1]
    few = tracked(Tracker(detector, most=1), [*[alone] * 3, *[both] * 16])
    assert [[face.track for face in some] for some in few] == [[0]] * 19


def test_what_goes_on_in_another_process_finds_the_same(detector: Detector) -> None:
    """To the last bit: with faces that move, one that is covered for a while, and a cut, ended behind every few."""
    rng = np.random.default_rng(5)
    plain = [scene((80, 150 + 6 * n, 180), (70, 480, 170)) for n in range(8)]
    plain += [scene((80, 198 + 6 * n, 180)) for n in range(6)]
    plain += [scene((80, 240, 180), (70, 480, 172))] * 3 + [scene((90, 220, 190), back="coffee")] * 3
    frames = [np.clip(frame + rng.normal(0, 3, frame.shape), 0, 255).astype(np.uint8) for frame in plain]
    whole = tracked(Tracker(detector), frames)
    assert {len(faces) for faces in whole} == {1, 2}
    tracker = Tracker(detector)
    for number, (frame, expected) in enumerate(zip(frames, whole, strict=True)):
        if number % 3 == 0:
            told = json.dumps(tracker.state(), allow_nan=False)
            tracker = Tracker(detector)
            tracker.restore(json.loads(told))
        for face, other in zip(tracker(frame, number / RATE), expected, strict=True):
            assert (face.track, face.score) == (other.track, other.score)
            np.testing.assert_array_equal(face.landmarks, other.landmarks)
            np.testing.assert_array_equal(face.unsmoothed, other.unsmoothed)
