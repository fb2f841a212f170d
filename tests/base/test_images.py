"""Pictures of every kind in, three bytes a pixel out."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from mfs_edge.base import images
from mfs_edge.base.errors import InputError, OutputError

RED = np.zeros((40, 60, 3), np.uint8)
RED[..., 0] = 200
RED[:10, :20] = 90


def saved(path: Path, bgr: np.ndarray) -> Path:
    path.write_bytes(cv2.imencode(path.suffix, bgr)[1].tobytes())
    return path


def test_round_trip(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (33, 17, 3), dtype=np.uint8)
    images.write_rgb(tmp_path / "x.png", picture)
    np.testing.assert_array_equal(images.read_rgb(tmp_path / "x.png"), picture)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".jpg", ".webp"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    found = images.read_rgb(saved(tmp_path / f"x{suffix}", RED[..., ::-1]))
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - RED).mean() < 4


def test_sixteen_bits_grey_and_alpha(tmp_path: Path) -> None:
    deep = RED[..., ::-1].astype(np.uint16) * 256
    np.testing.assert_array_equal(images.read_rgb(saved(tmp_path / "deep.png", deep)), RED)
    grey = RED[..., 0]
    np.testing.assert_array_equal(images.read_rgb(saved(tmp_path / "grey.png", grey)), np.stack([grey] * 3, -1))
    alpha = np.dstack([RED[..., ::-1], np.full(RED.shape[:2], 7, np.uint8)])
    np.testing.assert_array_equal(images.read_rgb(saved(tmp_path / "alpha.png", alpha)), RED)


def test_exif_rotation(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", RED[..., ::-1])[1].tobytes()
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)  # orientation: a quarter turn
    body = b"Exif\0\0" + tiff
    path = tmp_path / "turned.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:])
    assert images.read_rgb(path).shape == (60, 40, 3)


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


WHOLE = png(1, 2, b"\0\1\2\3" * 2)
UNREADABLE = {
    "text": b"this is no picture",
    "signature alone": WHOLE[:8],
    "truncated": WHOLE[:-16],
    "flipped": WHOLE[:45] + bytes([WHOLE[45] ^ 1]) + WHOLE[46:],
    "gigantic": png(100_000, 100_000),
    "lying length": WHOLE[:8] + b"\xff\xff\xff\xff" + WHOLE[12:],
    "half a jpeg": cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3)))[1].tobytes()[:100],
    "half a bmp": cv2.imencode(".bmp", RED)[1].tobytes()[:1000],
}


@pytest.mark.parametrize("name", list(UNREADABLE))
def test_unreadable_pictures(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(UNREADABLE[name])
    with pytest.raises(InputError, match=r"use a PNG or JPEG|truncated or damaged|more than 200") as caught:
        images.read_rgb(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()
    assert capfd.readouterr() == ("", "")  # the one line is all there is


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(WHOLE)
    np.testing.assert_array_equal(images.read_rgb(tmp_path / "x.png"), [[[1, 2, 3]], [[1, 2, 3]]])


def test_writing_nowhere(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        images.write_rgb(tmp_path / "missing" / "x.png", RED)


def test_tensors_and_back() -> None:
    tensor = images.to_nchw(RED)
    assert tensor.shape == (1, 3, 40, 60)
    assert tensor.dtype == np.float32
    assert tensor.max() == np.float32(200) / np.float32(255)
    np.testing.assert_array_equal(images.to_bytes(tensor), RED)
    assert images.to_bytes(np.array([[[[-1.0]], [[0.5]], [[2.0]]]])).tolist() == [[[0, 128, 255]]]


def test_resize_averages_when_shrinking() -> None:
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (images.resize(stripes, 4) == 100).all()
    assert images.resize(stripes, 16).shape == (16, 16, 3)
