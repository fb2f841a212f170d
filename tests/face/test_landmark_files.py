"""Landmarks as detectors write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
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


MESH = {
    **dict.fromkeys((33, 133, 159, 145), LEFT),
    **dict.fromkeys((362, 263, 386, 374), RIGHT),
    **{4: NOSE, 61: MOUTH_LEFT, 291: MOUTH_RIGHT},
}
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


NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
PAIR = [FIVE, [[x + 200, y + 10] for x, y in FIVE]]
ALL_FORMS: dict[str, Any] = {
    "bare points": PAIR,
    "insightface": [{"bbox": [1, 2, 3, 4], "kps": points} for points in PAIR],
    "retina-face": {f"face_{n}": {"landmarks": dict(zip(NAMES, p, strict=True))} for n, p in enumerate(PAIR)},
    "under a key": {"faces": PAIR},
    "with records": {"faces": [{"landmarks": points} for points in PAIR]},
}


@pytest.mark.parametrize("name", list(ALL_FORMS))
def test_several_faces(name: str, tmp_path: Path) -> None:
    (tmp_path / "points.json").write_text(json.dumps(ALL_FORMS[name]))
    np.testing.assert_allclose(landmark_files.read_all(tmp_path / "points.json"), PAIR)


@pytest.mark.parametrize("name", list(FORMS))
def test_one_face_is_a_list_of_one_and_frame_0(name: str, tmp_path: Path) -> None:
    (tmp_path / "points.json").write_text(json.dumps(FORMS[name]))
    np.testing.assert_allclose(landmark_files.read_all(tmp_path / "points.json"), [FIVE])
    frames = landmark_files.read_frames(tmp_path / "points.json")
    assert list(frames) == [0]
    np.testing.assert_allclose(frames[0], [FIVE])


@pytest.mark.parametrize("value", [[], {"faces": []}, None, {}])
def test_a_picture_without_a_face(value: Any, tmp_path: Path) -> None:
    (tmp_path / "points.json").write_text(json.dumps(value))
    assert landmark_files.read_all(tmp_path / "points.json") == []


FRAMES = {0: PAIR, 1: [], 2: [FIVE]}
FRAME_FORMS: dict[str, tuple[Any, dict[int, Any]]] = {
    "lists of faces": ([PAIR, [], [FIVE]], FRAMES),
    "one face each": ([FIVE, None, FIVE], {0: [FIVE], 1: [], 2: [FIVE]}),
    "detections": ([[{"kps": p} for p in PAIR], [], [{"kps": FIVE}]], FRAMES),
    "under frames": ({"fps": 30, "frames": [PAIR, [], FIVE]}, FRAMES),
    "by number": ({"0": PAIR, "12": FIVE, "2": []}, {0: PAIR, 2: [], 12: [FIVE]}),
    "records with numbers": ([{"frame": 7, "faces": PAIR}, {"frame": 3, "faces": []}], {3: [], 7: PAIR}),
    "a record per face": ([{"frame": 1, "kps": p} for p in PAIR], {1: PAIR}),
    "a record per frame": ([{"faces": PAIR}, {"faces": []}, {"faces": [FIVE]}], FRAMES),
    "one picture's detections": ([{"kps": p} for p in PAIR], {0: PAIR}),
    "meshes": ([dense(478, MESH), [dense(478, MESH)]], {0: [FIVE], 1: [FIVE]}),
}


@pytest.mark.parametrize("name", list(FRAME_FORMS))
def test_frames(name: str, tmp_path: Path) -> None:
    value, right = FRAME_FORMS[name]
    (tmp_path / "points.json").write_text(json.dumps(value))
    same_frames(landmark_files.read_frames(tmp_path / "points.json"), right)


def same_frames(found: Mapping[int, list[np.ndarray]], right: Mapping[int, Any]) -> None:
    assert list(found) == sorted(right)
    for number, faces in found.items():
        assert len(faces) == len(right[number])
        for face, points in zip(faces, right[number], strict=True):
            np.testing.assert_allclose(face, points)


def test_frames_of_arrays(tmp_path: Path) -> None:
    array = np.array([PAIR, PAIR, PAIR])
    array[1, 1], array[2] = np.nan, np.nan
    np.save(tmp_path / "two.npy", array)
    same_frames(landmark_files.read_frames(tmp_path / "two.npy"), {0: PAIR, 1: [FIVE], 2: []})
    np.save(tmp_path / "one.npy", array[:, 0])
    same_frames(landmark_files.read_frames(tmp_path / "one.npy"), {0: [FIVE], 1: [FIVE], 2: []})
    np.save(tmp_path / "still.npy", array[0, 0])
    same_frames(landmark_files.read_frames(tmp_path / "still.npy"), {0: [FIVE]})


def test_a_folder_of_frames(tmp_path: Path) -> None:
    for number, faces in FRAMES.items():
        (tmp_path / f"frame_{number:04}.json").write_text(json.dumps(faces))
    (tmp_path / ".DS_Store").write_text("x")
    same_frames(landmark_files.read_frames(tmp_path), FRAMES)
    (tmp_path / "frame_0000.json").unlink()
    with pytest.raises(InputError, match="count from 0"):
        landmark_files.read_frames(tmp_path)
    (tmp_path / "0.txt").write_text(str(FIVE))
    (tmp_path / "f2.txt").write_text(str(FIVE))
    with pytest.raises(InputError, match="second file for frame 2"):
        landmark_files.read_frames(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "f2.txt").unlink()
    with pytest.raises(InputError, match=r"notes\.txt: its name"):
        landmark_files.read_frames(tmp_path)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([PAIR, [FIVE, FIVE[:4]]], "in frame 1 has 4 points"),
        ([FIVE, "x"], "in frame 1 does not hold five"),
        ({"0": FIVE, "1": {"left_eye": LEFT}}, "in frame 1 does not hold five"),
        ([[float("nan")] * 2] * 4 + [[1.0, 2.0]], "not finite"),
        ("text", "does not hold five"),
    ],
)
def test_what_are_not_frames(value: Any, reason: str, tmp_path: Path) -> None:
    (tmp_path / "points.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=reason):
        landmark_files.read_frames(tmp_path / "points.json")
