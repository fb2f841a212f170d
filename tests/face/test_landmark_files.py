"""The forms in which detectors write landmarks: all of them give the same five points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfs_edge.base.errors import InputError
from mfs_edge.face import landmark_files
from mfs_edge.face.landmark_files import MESH_PARTS

FIVE = np.array([[100.0, 120.0], [160.0, 118.0], [131.0, 150.0], [106.0, 185.0], [155.0, 184.0]])
SIZE = (400, 300)
EYE_L, EYE_R, NOSE, MOUTH_L, MOUTH_R = FIVE.tolist()


def mesh(count: int) -> np.ndarray:
    found = np.random.default_rng(0).uniform(0, 1, (count, 3))
    for part, point in zip(MESH_PARTS, FIVE / SIZE, strict=True):
        found[list(part), :2] = point
    return found


FORMS: dict[str, Any] = {
    "five points": FIVE.tolist(),
    "one list": FIVE.ravel().tolist(),
    "five mappings": [{"x": x, "y": y} for x, y in FIVE],
    "fractions": (FIVE / SIZE).tolist(),
    "insightface": {"bbox": [1, 2, 3, 4], "kps": FIVE.tolist(), "det_score": 0.9},
    "insightface, a list of one face": [{"kps": FIVE.tolist(), "bbox": [1, 2, 3, 4]}],
    "mtcnn": [{"box": [1, 2, 3, 4], "confidence": 0.9, "keypoints": {
        "left_eye": EYE_L, "right_eye": EYE_R, "nose": NOSE, "mouth_left": MOUTH_L, "mouth_right": MOUTH_R}}],
    "retina-face, which names eyes as their owner does": {"face_1": {"score": 0.9, "landmarks": {
        "right_eye": EYE_L, "left_eye": EYE_R, "nose": NOSE, "mouth_right": MOUTH_L, "mouth_left": MOUTH_R}}},
    "MediaPipe, mappings": [{"x": x, "y": y, "z": z} for x, y, z in mesh(468)],
    "MediaPipe, with irises": mesh(478).tolist(),
    "MediaPipe, as its tasks write it": {"face_landmarks": [[{"x": x, "y": y, "z": z} for x, y, z in mesh(478)]]},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_five_points(form: str, tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text(json.dumps(FORMS[form]))
    found = landmark_files.read(path)
    np.testing.assert_allclose(found.pixels(*SIZE), FIVE, atol=1e-9)
    assert found.fractions == ("fractions" in form or "MediaPipe" in form)


@pytest.mark.parametrize("degrees", [-80, -30, 30, 80])
def test_names_are_put_in_order_however_the_head_is_turned(degrees: float, tmp_path: Path) -> None:
    turn = np.radians(degrees)
    around = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned = (FIVE - FIVE[2]) @ around.T + 300
    names = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")
    path = tmp_path / "points.json"
    path.write_text(json.dumps(dict(zip(names, turned.tolist(), strict=True))))
    np.testing.assert_allclose(landmark_files.read(path).points, turned)


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ([{"kps": FIVE.tolist()}, {"kps": FIVE.tolist()}], "it holds 2 faces: leave one"),
        ({"face_1": {"landmarks": {}}, "face_2": {"landmarks": {}}}, "it holds 2 faces: leave one"),
        (FIVE[:4].tolist(), "it holds 4 points"),
        (np.zeros((68, 2)).tolist(), "it holds 68 points"),
        ({"left_eye": EYE_L, "right_eye": EYE_R, "nose": NOSE}, "two eyes, a nose and two mouth corners"),
        ({"score": 1}, "no landmarks are in it"),
        ([1e999] * 10, "not finite"),
        ([[10**400, 1]] * 5, "OverflowError"),
        ("text", "does not hold"),
        (None, "does not hold"),
    ],
)
def test_what_is_not_one_face_is_refused(held: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text(json.dumps(held))
    with pytest.raises(InputError, match=reason) as caught:
        landmark_files.read(path)
    assert "ten numbers" in str(caught.value)
