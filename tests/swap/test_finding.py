"""Where faces come from: a callable of the user's, or landmarks in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfs_edge.base.errors import InputError, MissingDependency, UsageError
from mfs_edge.face.found import Face
from mfs_edge.swap.finding import Finding, checked
from mfs_edge.swap.stream import Frame
from tests.swap.conftest import ASTRONAUT, astronaut, points, room, two

HERE = Path("a.png")


def test_a_callable_may_give_points_or_faces() -> None:
    finding = Finding(finder=lambda image, seconds: [ASTRONAUT / 2, Face(ASTRONAUT, 0.5), (ASTRONAUT / 4).tolist()])
    found = finding.picture(astronaut(), HERE)
    assert [round(face.eyes) for face in found] == [43, 21, 11]
    assert len({face.track for face in found}) == 3
    find, memory = finding.stream()
    assert memory is None
    assert [face.eyes for face in find(Frame(0, 0.0, astronaut()))] == [face.eyes for face in found]


def test_tracks_of_the_callable_are_kept_where_they_tell_faces_apart() -> None:
    faces = [Face(ASTRONAUT / 2, track=7), Face(ASTRONAUT, track=3)]
    assert [face.track for face in checked(faces)] == [3, 7]


@pytest.mark.parametrize("given", ["x", np.zeros((4, 2)), np.full((5, 2), np.inf), {"kps": 1}, Face(np.zeros((3, 2)))])
def test_a_callable_that_gives_something_else_is_told(given: Any) -> None:
    with pytest.raises(InputError, match="finder gave"):
        checked([given])


def test_a_callable_with_a_memory_is_remembered() -> None:
    class Remembering:
        def __call__(self, image: np.ndarray, seconds: float) -> list[Face]:
            return []

        def state(self) -> dict[str, Any]:
            return {}

        def restore(self, state: dict[str, Any]) -> None: ...

    finder = Remembering()
    assert Finding(finder=finder).stream()[1] is finder


def test_without_the_detectors_models_the_command_that_fetches_them_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MFS_EDGE_FACE_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingDependency, match=r"mfs-edge face-models.*--landmarks FILE"):
        Finding().check()
    with pytest.raises(InputError, match="no such file, a model that finds faces"):
        Finding(models=tmp_path).check()


def test_landmarks_and_a_callable_are_one_too_many() -> None:
    with pytest.raises(UsageError, match="both given"):
        Finding(landmarks=HERE, finder=lambda image, seconds: [])


def test_a_file_for_a_photo_in_pixels_or_fractions(tmp_path: Path) -> None:
    pixels = Finding(landmarks=points(tmp_path / "a.txt", ASTRONAUT))
    pixels.check()
    (face,) = pixels.picture(astronaut(), HERE)
    (other,) = Finding(landmarks=points(tmp_path / "b.txt", ASTRONAUT / 512)).picture(astronaut(), HERE)
    assert np.allclose(face.landmarks, ASTRONAUT)
    assert np.allclose(other.landmarks, ASTRONAUT)


def test_a_file_for_every_frame_of_a_video(tmp_path: Path) -> None:
    find, memory = Finding(landmarks=points(tmp_path / "a.txt", ASTRONAUT / 512)).stream()
    assert memory is None
    (face,) = find(Frame(5, 0.2, astronaut()))
    assert np.allclose(face.landmarks, ASTRONAUT)


def test_a_file_with_the_faces_of_each_frame(tmp_path: Path) -> None:
    frames = [[ASTRONAUT.tolist()], [], [(ASTRONAUT + 3).tolist(), (ASTRONAUT / 2).tolist()]]
    (tmp_path / "a.json").write_text(json.dumps(frames))
    finding = Finding(landmarks=tmp_path / "a.json")
    finding.check(frames=True)
    find, _ = finding.stream()
    found = [find(Frame(index, 0.0, astronaut())) for index in (2, 0, 1)]
    assert [[face.track for face in faces] for faces in found] == [[0, 1], [0], []]
    assert np.allclose(found[0][0].landmarks, ASTRONAUT + 3)
    with pytest.raises(InputError, match="nothing for frame 3"):
        find(Frame(3, 0.0, astronaut()))
    with pytest.raises(InputError, match=r"frame 0 at 225,123 lies outside of its 100x100"):
        find(Frame(0, 0.0, astronaut()[:100, :100]))


def test_a_file_with_several_faces_of_a_photo(tmp_path: Path) -> None:
    picture, (left, right) = two()
    (tmp_path / "two.json").write_text(json.dumps({"faces": [left.tolist(), right.tolist()]}))
    found = Finding(landmarks=tmp_path / "two.json").picture(picture, HERE)
    assert [face.track for face in found] == [1, 0], "the larger one first"
    assert np.allclose(found[0].landmarks, right)


def test_a_folder_of_files_that_are_called_as_the_pictures(tmp_path: Path) -> None:
    points(tmp_path / "a.txt", ASTRONAUT)
    points(tmp_path / "b.png.txt", room().landmarks)
    np.save(tmp_path / "c.npy", ASTRONAUT)
    points(tmp_path / "c.txt", ASTRONAUT)
    finding = Finding(landmarks=tmp_path)
    finding.check()
    assert np.allclose(finding.picture(astronaut(), Path("x/a.png"))[0].landmarks, ASTRONAUT)
    assert np.allclose(finding.picture(room().image, Path("x/b.png"))[0].landmarks, room().landmarks)
    with pytest.raises(InputError, match=r"has no file for d\.png"):
        finding.picture(astronaut(), Path("d.png"))
    with pytest.raises(InputError, match=r"has 2 files for c\.png"):
        finding.picture(astronaut(), Path("c.png"))


@pytest.mark.parametrize(
    ("landmarks", "words"),
    [
        (ASTRONAUT + 600, "outside"),
        (ASTRONAUT[[1, 0, 2, 4, 3]], "mirror"),
        (ASTRONAUT[:, ::-1], "landmarks"),
        (ASTRONAUT / 2, "half the size"),
    ],
)
def test_points_that_are_not_of_this_photo_are_told(landmarks: np.ndarray, words: str, tmp_path: Path) -> None:
    finding = Finding(landmarks=points(tmp_path / "a.txt", landmarks))
    with pytest.raises(InputError, match=words):
        finding.picture(astronaut(), HERE)


def test_what_is_little_like_a_face_is_swapped_and_told(tmp_path: Path) -> None:
    """Whoever gives landmarks may know better than what judges faces; but it is said."""
    notes: list[str] = []
    image = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    finding = Finding(landmarks=points(tmp_path / "a.txt", ASTRONAUT), note=notes.append)
    assert len(finding.picture(image, HERE)) == 1
    assert "little like a face" in notes[0]
    finding.picture(astronaut(), HERE)
    assert len(notes) == 1


WRONG = {
    "of half the size": (ASTRONAUT / 2, "multiply them by 2"),
    "percent": (ASTRONAUT / 5.12, "in percent"),
    "in another order": (ASTRONAUT[[2, 0, 1, 3, 4]], "do not form a face"),
    "mirrored": (ASTRONAUT[[1, 0, 2, 4, 3]], "would mirror the face"),
    "on a line": (np.array([(100.0 + n, 100.0 + n) for n in range(5)]), "on one line"),
}


@pytest.mark.parametrize(("five", "words"), WRONG.values(), ids=WRONG)
def test_a_video_is_not_swapped_where_its_landmarks_are_surely_not_meant(
    tmp_path: Path, five: np.ndarray, words: str
) -> None:
    (tmp_path / "a.json").write_text(json.dumps([[], [five.tolist()], [five.tolist()]]))
    find, _ = Finding(landmarks=tmp_path / "a.json").stream()
    assert find(Frame(0, 0.0, astronaut())) == []
    with pytest.raises(InputError, match=rf"a\.json: frame 1: .*{words}"):
        find(Frame(1, 0.04, astronaut()))


def test_a_video_that_begins_in_the_dark_is_judged_by_what_can_be_seen(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([[(ASTRONAUT / 2).tolist()]] * 2))
    find, _ = Finding(landmarks=tmp_path / "a.json").stream()
    assert len(find(Frame(0, 0.0, np.zeros_like(astronaut())))) == 1
    with pytest.raises(InputError, match="frame 1"):
        find(Frame(1, 0.04, astronaut()))


def test_landmarks_that_go_on_behind_a_videos_end_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([[ASTRONAUT.tolist()]] * 5))
    told: list[str] = []
    finding = Finding(landmarks=tmp_path / "a.json", note=told.append)
    finding.check(frames=True)
    finding.ended(5)
    assert not told
    finding.ended(4)
    assert "goes on to frame 4, and the video ends with frame 3" in told[0]
