"""The drawn film: the same each time, and a person whose face a detector finds where it is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mfs_edge import sample
from mfs_edge.face import align
from mfs_edge.face.detect import Detector
from mfs_edge.face.track import Tracker
from mfs_edge.sample import film

Drawn = list[tuple[np.ndarray, np.ndarray]]
FARTHEST = 0.2  # of the eyes' distance: drawn eyes are larger than those that Face Mesh was trained on


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return list(film.frames())


def test_it_is_the_same_each_time_and_moves(drawn: Drawn) -> None:
    again, points = next(film.frames())
    np.testing.assert_array_equal(again, drawn[0][0])
    np.testing.assert_array_equal(points, drawn[0][1])
    assert len(drawn) == film.FRAMES
    assert {(picture.shape, picture.dtype) for picture, _ in drawn} == {((360, 640, 3), np.dtype(np.uint8))}
    noses = np.array([five[2] for _, five in drawn])
    eyes = [float(np.hypot(*(five[1] - five[0]))) for _, five in drawn]
    assert np.ptp(noses[:, 0]) > 200
    assert max(eyes) / min(eyes) > 1.3
    assert noses.min() > 0
    assert (noses < (640, 360)).all()


def test_the_points_are_those_of_the_face(drawn: Drawn) -> None:
    """The crop of any frame is that of the picture that the face was cut from."""
    face = film.actor(film.ACTOR)
    wanted = align.align(face.picture, face.landmarks, 112)[30:85, 30:85].astype(float)
    for picture, five in drawn[::7]:
        crop = align.align(picture, five, 112)[30:85, 30:85]
        assert np.abs(crop - wanted).mean() < 4


def test_the_person_is_cut_out() -> None:
    face = film.actor(film.ACTOR)
    assert face.opaque[:20, :20].max() == face.opaque[:20, -20:].max() == face.opaque[-5:].max() == 0
    x, y = face.landmarks.astype(int).T
    assert (face.opaque[y, x] == 1).all()
    assert cv2.connectedComponents((face.opaque[..., 0] > 0.5).astype(np.uint8))[0] == 2, "one piece"
    np.testing.assert_array_equal(face.picture, sample.target(film.ACTOR))


def test_the_detector_finds_it_in_every_frame(drawn: Drawn, detector: Detector) -> None:
    tracker = Tracker(detector)
    for index, (picture, five) in enumerate(drawn):
        (found,) = tracker(picture, index / film.RATE)
        assert found.track == 0
        off = np.hypot(*(found.landmarks - five).T) / np.hypot(*(five[1] - five[0]))
        assert off.max() < FARTHEST


def test_the_tone_swells_and_fades() -> None:
    wave = film.tone()
    assert wave.shape == (1, 2 * film.SOUND_RATE)
    loud = np.abs(wave[0]).reshape(20, -1).max(axis=1)
    assert loud.max() == pytest.approx(film.LOUDNESS, rel=0.01)
    assert loud[0] < loud[9] > loud[-1]
    spectrum = np.abs(np.fft.rfft(wave[0]))
    assert spectrum.argmax() == pytest.approx(2 * film.HERTZ, abs=1)
