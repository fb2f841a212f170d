"""The face that is most like the one in a photo, by the demo's ArcFace on drawn faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mfs_edge import sample
from mfs_edge.base import extras
from mfs_edge.base.errors import InputError, MissingDependency
from mfs_edge.face.found import Face
from mfs_edge.load import checkpoint
from mfs_edge.sample import weights
from mfs_edge.swap import reference
from mfs_edge.swap.finding import Finding
from mfs_edge.swap.reference import Reference
from tests.swap.conftest import two, written


@pytest.fixture(autouse=True)
def demo(monkeypatch: pytest.MonkeyPatch) -> None:
    found = weights.checkpoint("arcface")
    monkeypatch.setattr(checkpoint, "load", lambda path, expect: found)


def test_a_face_is_most_like_itself_in_another_light(tmp_path: Path) -> None:
    picture, (left, right) = two()
    photo = written(tmp_path / "me.png", cv2.convertScaleAbs(picture, alpha=0.9, beta=4))
    like = Reference(photo, Path("arcface.pth"), Finding(finder=lambda image, seconds: [left]))
    levels = [like(picture, Face(landmarks)) for landmarks in (left, right)]
    assert levels[0] > 0.95
    assert levels[0] > levels[1] + 0.02
    assert min(levels) >= -1
    assert levels[0] > reference.LEAST


def test_a_square_crop_is_a_reference_where_landmarks_are_given(tmp_path: Path) -> None:
    crop = written(tmp_path / "crop.png", sample.target(0))
    like = Reference(crop, Path("arcface.pth"), Finding(landmarks=tmp_path / "points.txt"))
    assert isinstance(like, Reference)


def test_a_reference_without_a_face_is_told(tmp_path: Path) -> None:
    wide = written(tmp_path / "wide.png", np.zeros((50, 90, 3), np.uint8))
    with pytest.raises(InputError, match=r"wide\.png: no face found in the reference"):
        Reference(wide, Path("arcface.pth"), Finding(finder=lambda image, seconds: []))


def test_without_torch_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, extra: str) -> None:
        raise MissingDependency(f"{module} is needed; install 'mfs-edge[{extra}]'")

    monkeypatch.setattr(extras, "require", missing)
    with pytest.raises(MissingDependency, match=r"torch.*compile"):
        Reference(tmp_path / "a.png", Path("arcface.pth"), Finding())
