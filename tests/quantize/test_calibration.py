"""Which pictures calibrate and which judge."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mfs_edge.base import images
from mfs_edge.base.errors import InputError
from mfs_edge.quantize import calibration
from mfs_edge.sample import FACES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(40):
        shutil.copy(FACES / f"target_{number:02}.png", tmp_path)
    return tmp_path


def test_a_folder_is_shared_out_by_content(folder: Path) -> None:
    found = calibration.load(folder, 224)
    assert len(found.images) + len(found.held_out) == 40
    assert len(found.images) > len(found.held_out) > 0
    sides = [{picture.tobytes() for picture in side} for side in (found.images, found.held_out)]
    assert not sides[0] & sides[1]
    assert found.warnings == ()


def test_pictures_are_fitted_with_a_notice(folder: Path) -> None:
    images.write_rgb(folder / "wide.png", np.full((100, 300, 3), 9, np.uint8))
    found = calibration.load(folder, 96)
    assert {picture.shape for picture in found.images} == {(1, 3, 96, 96)}
    assert "resized to 96" in found.notices[0]


def test_what_cannot_be_read_is_listed_and_skipped(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"not a picture")
    found = calibration.load(folder, 224)
    assert len(found.images) + len(found.held_out) == 40
    assert "broken.png" in found.skipped[0]
    assert "skipped 1" in found.warnings[0]


def test_pictures_are_told_by_content_and_litter_leaves_first(folder: Path) -> None:
    for number in range(8):
        face = folder / f"target_{number:02}.png"
        face.rename(folder / (f"face {number}", f"{number}.JPG", f"{number}.jfif", f"{number}.bin")[number % 4])
    for number in range(60):  # what a zip from macOS holds: more than the limit would leave of the pictures
        (folder / f"._target_{number:02}.png").write_bytes(b"\0\5\x16\7" + bytes(100))
    (folder / "__MACOSX" / "deeper").mkdir(parents=True)
    (folder / "__MACOSX" / "deeper" / "x.png").write_bytes(b"litter")
    (folder / ".DS_Store").write_bytes(bytes(10))
    (folder / "Thumbs.db").write_bytes(bytes(10))
    (folder / "notes.txt").write_text("which is which")
    (folder / "boxes.csv").touch()
    found = calibration.load(folder, 224, limit=40)
    assert len(found.images) + len(found.held_out) == 40
    said = "2 that are no picture (boxes.csv, notes.txt); 63 of a system's own (._*, __MACOSX, .DS_Store, Thumbs.db)"
    assert found.warnings == (f"passed over in {folder.name}: {said}",)


def test_a_folder_of_litter_says_so(tmp_path: Path) -> None:
    (tmp_path / "._a.png").write_bytes(b"x")
    (tmp_path / "b.txt").write_bytes(b"x")
    with pytest.raises(
        InputError, match=r"holds no picture \(passed over in .*1 that is no picture \(b\.txt\); 1 of a"
    ):
        calibration.load(tmp_path, 224)


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture"):
        calibration.load(tmp_path, 224)
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"broken\.png"):
        calibration.load(tmp_path, 224)
    with pytest.raises(InputError, match="neither a folder"):
        calibration.load(tmp_path / "nowhere", 224)


def test_few_pictures_are_warned_of(tmp_path: Path) -> None:
    for number in range(3):
        shutil.copy(FACES / f"target_{number:02}.png", tmp_path)
    assert any("ONLY 3" in line for line in calibration.load(tmp_path, 224).warnings)


def test_an_npz_of_bytes_and_of_floats(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    np.savez(tmp_path / "bytes.npz", pictures)
    np.savez(tmp_path / "floats.npz", (pictures / 255).astype(np.float32).transpose(0, 3, 1, 2))
    first, second = (calibration.load(tmp_path / f"{name}.npz", 64) for name in ("bytes", "floats"))
    assert len(first.images) + len(first.held_out) == 20
    total = [
        np.sum([p.sum(dtype=np.float64) for side in (f.images, f.held_out) for p in side]) for f in (first, second)
    ]
    assert total[0] == pytest.approx(total[1], rel=1e-6)


def test_members_of_an_npz_that_are_no_arrays_are_named(tmp_path: Path) -> None:
    path = tmp_path / "faces.npz"
    np.savez(path, np.zeros((40, 64, 64, 3), np.uint8))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "which is which")
        archive.writestr("more/", "")
    found = calibration.load(path, 64)
    assert found.warnings[0] == "passed over in faces.npz: 2 that are no picture (notes.txt, more/)"


def test_nan_pixels_never_calibrate(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).random((9, 3, 64, 64), np.float32)
    pictures[4, 0, 0, 0] = np.nan
    np.savez(tmp_path / "nan.npz", pictures)
    found = calibration.load(tmp_path / "nan.npz", 64)
    assert len(found.skipped) == 1
    assert all(np.isfinite(picture).all() for picture in (*found.images, *found.held_out))


def test_drawn_faces_come_with_a_warning() -> None:
    found = calibration.load(None, 224)
    assert "may not carry over" in found.warnings[0]
    assert len(found.held_out) == 32
