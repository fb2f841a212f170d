"""A face in a whole photo: landmarks read and judged, and the warp onto the template."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mfs_edge import sample
from mfs_edge.base.errors import IdentityError, InputError
from mfs_edge.face import align, landmark_files
from mfs_edge.face.crop import arcface_input
from mfs_edge.load.embed import Embedder
from mfs_edge.sample import weights

LANDMARKS = json.loads((sample.FACES / "landmarks.json").read_text())


@pytest.fixture(scope="module")
def arcface() -> Embedder:
    return Embedder(weights.checkpoint("arcface"))


def refusal(call: object, kind: type[InputError] = IdentityError) -> str:
    with pytest.raises(kind) as caught:
        call()  # type: ignore[operator]
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("size", [112, 224])
def test_affine_recovers_a_known_one(size: int) -> None:
    known = np.array([[0.8, -0.3, 12.5], [0.35, 1.1, -7.25]])
    inverse = np.linalg.inv(known[:, :2])
    points = (align.TEMPLATE * size / 112 - known[:, 2]) @ inverse.T
    np.testing.assert_allclose(align.affine(points, size), known, atol=1e-9)


def test_the_template_is_the_papers() -> None:
    np.testing.assert_allclose(align.TEMPLATE[0], (38.2946, 51.6963))
    np.testing.assert_allclose(align.TEMPLATE[4], (70.7299, 92.2041))


def test_align_undoes_a_known_warp() -> None:
    crop = cv2.GaussianBlur(sample.target(0), (0, 0), 4)
    placed = np.array([[0.9, 0.2, 60.0], [-0.2, 0.9, 90.0]])  # where the crop lies in the photo
    photo = cv2.warpAffine(crop, placed, (400, 400))
    points = align.TEMPLATE * 2 @ placed[:, :2].T + placed[:, 2]
    found = align.align(photo, points, 224)
    assert np.abs(found.astype(int) - crop)[8:-8, 8:-8].max() <= 6


def test_a_drawn_target_as_a_whole_photo(tmp_path: Path, arcface: Embedder) -> None:
    path = tmp_path / "points.txt"
    path.write_text("\n".join(f"{x}, {y}" for x, y in LANDMARKS["target_00"]))
    points = landmark_files.read(path)
    np.testing.assert_allclose(points, LANDMARKS["target_00"])
    found = arcface(arcface_input(sample.target(0), "target_00.png", points))
    assert np.isfinite(found.flat).all()
    assert np.linalg.norm(found.embedding) == pytest.approx(1, abs=1e-6)


GOOD = np.array(LANDMARKS["target_00"])


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (GOOD + np.array([0, 200]), "landmark 1 at 79.21,302.35 lies outside the 224x224 picture"),
        (GOOD * np.array([-1, 1]), "lies outside"),
        (GOOD[[1, 0, 2, 4, 3]], "would mirror the face"),
        (np.tile([10.0, 10.0], (5, 1)), "lie on one line"),
        (np.outer(np.arange(5.0), [1, 2]), "lie on one line"),
    ],
)
def test_landmarks_that_cannot_be(points: np.ndarray, reason: str) -> None:
    assert reason in refusal(lambda: arcface_input(sample.target(0), "photo.png", points))


def test_pictures_beyond_the_warps_limit() -> None:
    photo = np.zeros((40_000, 224, 3), np.uint8)
    assert "make it smaller" in refusal(lambda: arcface_input(photo, "photo.png", GOOD))


@pytest.mark.parametrize(
    "text", ["1,2\n3 4\n5,6\t7,8\n9,10\n", "[[1,2],[3,4],[5,6],[7,8],[9,10]]", "\ufeff[1,2,3,4,5,6,7,8,9,10]"]
)
def test_ways_to_write_landmarks(tmp_path: Path, text: str) -> None:
    path = tmp_path / "points"
    path.write_text(text, encoding="utf-8")
    assert landmark_files.read(path).tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["1 2\r\n3 4\r\n5 6\r\n7 8\r\n9 10\r\n", "[[1,2],[3,4],[5,6],[7,8],[9,10]]"])
def test_landmarks_that_powershell_wrote(tmp_path: Path, text: str, encoding: str) -> None:
    """Its ``>`` writes UTF-16."""
    (tmp_path / "points").write_bytes(text.encode(encoding))
    assert landmark_files.read(tmp_path / "points").tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]


@pytest.mark.parametrize(
    "text",
    ["1 2 3", "a b c d e f g h i j", "1 2 3 4 5 6 7 8 9 nan", '{"eye": [1, 2]}', "[[1,2],[3]]", "[1,", "[" * 10**5],
)
def test_bad_landmark_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "points"
    path.write_text(text)
    assert "write ten numbers" in refusal(lambda: landmark_files.read(path), InputError)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_infinity_never_reaches_the_solver(value: float) -> None:
    """LAPACK's least squares do not come back from it."""
    points = GOOD.copy()
    points[3, 0] = value
    assert "not finite" in refusal(lambda: align.affine(points, 224))
