"""Landmarks as detectors write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfs_edge.base.errors import InputError
from mfs_edge.face import landmark_files
from mfs_edge.face.crop import aligned
from tests.face import scenes

PHOTO = scenes.portrait()
FIVE = PHOTO.landmarks.tolist()
LEFT, RIGHT, NOSE, MOUTH_LEFT, MOUTH_RIGHT = FIVE


def dense(count: int, groups: dict[int, list[float]]) -> list[list[float]]:
    points = [[0.0, 0.0, 0.0]] * count
    for index, (x, y) in groups.items():
        points[index] = [x, y, 0.1]
    return points


MESH = {33: LEFT, 133: LEFT, 362: RIGHT, 263: RIGHT, 1: NOSE, 61: MOUTH_LEFT, 291: MOUTH_RIGHT}
DLIB = {
    **dict.fromkeys(range(36, 42), LEFT),
    **dict.fromkeys(range(42, 48), RIGHT),
    **{30: NOSE, 48: MOUTH_LEFT, 54: MOUTH_RIGHT},
}
FORMS: dict[str, Any] = {
    "ten numbers": [value for point in FIVE for value in point],
    "insightface": [{"bbox": [1, 2, 3, 4], "kps": FIVE, "det_score": 0.9}],
    "insightface, one face": {"kps": FIVE, "landmark_2d_106": dense(106, {})},
    "mtcnn": [
        {
            "box": [1, 2, 3, 4],
            "keypoints": {
                **{"nose": NOSE, "mouth_right": MOUTH_RIGHT, "right_eye": RIGHT},
                **{"left_eye": LEFT, "mouth_left": MOUTH_LEFT},
            },
        }
    ],
    "retina-face, by the person's sides": {
        "face_1": {
            "score": 0.99,
            "facial_area": [1, 2, 3, 4],
            "landmarks": {
                **{"right_eye": LEFT, "left_eye": RIGHT, "nose": NOSE},
                **{"mouth_right": MOUTH_LEFT, "mouth_left": MOUTH_RIGHT},
            },
        }
    },
    "other names": {
        **{"leftEye": LEFT, "rightEye": RIGHT, "noseTip": {"x": NOSE[0], "y": NOSE[1]}},
        **{"leftMouth": MOUTH_LEFT, "rightMouth": MOUTH_RIGHT, "leftEyebrow": [0, 0]},
    },
    "facenet-pytorch": [FIVE],
    "x and y": [{"x": x, "y": y} for x, y in FIVE],
    "with scores": [[x, y, 0.9] for x, y in FIVE],
    "dlib": dense(68, DLIB),
    "a mesh in pixels": {"landmarks": dense(468, MESH)},
    "a mesh with irises": {"face_landmarks": [[{"x": p[0], "y": p[1], "z": 0} for p in dense(478, MESH)]]},
}


@pytest.mark.parametrize("name", list(FORMS))
def test_what_detectors_write(name: str, tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text(json.dumps(FORMS[name]))
    np.testing.assert_allclose(landmark_files.read(path), FIVE)


@pytest.mark.parametrize(
    "text", [str(np.array(FIVE)), repr(np.array(FIVE)), str(FIVE), str([tuple(point) for point in FIVE])]
)
def test_what_python_prints(text: str, tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "points.txt").write_text(text, encoding=encoding)
        np.testing.assert_allclose(landmark_files.read(tmp_path / "points.txt"), FIVE, atol=0.1)


def test_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", np.float32(FIVE)[None])
    np.testing.assert_allclose(landmark_files.read(tmp_path / "points.npy"), FIVE, rtol=1e-6)


def test_a_mesh_in_fractions_is_the_same_face(tmp_path: Path) -> None:
    height, width = PHOTO.image.shape[:2]
    mesh = [[x / width, y / height, z] for x, y, z in dense(478, MESH)]
    (tmp_path / "mesh.json").write_text(json.dumps(mesh))
    found = aligned(PHOTO.image, "photo", landmark_files.read(tmp_path / "mesh.json"))
    np.testing.assert_array_equal(found.picture, PHOTO.crop)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([{"kps": FIVE}, {"kps": FIVE}], "holds 2 faces"),
        ({"face_1": {"landmarks": {}}, "face_2": {"landmarks": {}}}, "holds 2 faces"),
        ([FIVE, FIVE, FIVE], "holds 3 faces"),
        ([{"x": 0.1, "y": 0.2}] * 6, "without the mouth's corners"),
        ({"left_eye": LEFT, "right_eye": RIGHT, "nose": NOSE}, "does not hold five"),
        (dense(106, {}), "has 106 points"),
        ([], "holds 0 numbers"),
        ("text", "does not hold five"),
        ([10**400] * 10, "does not hold five"),
        ([[True, False]] * 5, "does not hold five|faces"),
        ([[None, 1]] * 5, "does not hold five|faces"),
        ({"kps": None}, "does not hold five"),
    ],
)
def test_what_is_not_five_points(value: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match=reason) as caught:
        landmark_files.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("write ten numbers, two to a line")


def test_large_and_pickled_files(tmp_path: Path) -> None:
    path = tmp_path / "points"
    path.write_bytes(b"1 " * landmark_files.MOST_BYTES)
    with pytest.raises(InputError, match="too large"):
        landmark_files.read(path)
    np.save(tmp_path / "p.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="write ten numbers"):
        landmark_files.read(tmp_path / "p.npy")
