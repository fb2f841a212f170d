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


ENCODINGS = {
    "jpg": (".jpg", []), "progressive": (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]), "webp": (".webp", []),
    "png": (".png", []), "bmp": (".bmp", []), "tiff": (".tiff", []), "gif": (".gif", []), "avif": (".avif", []),
    "jp2": (".jp2", []), "ppm": (".ppm", []),
}  # fmt: skip


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["x", "X.JPEG", "x.jfif", "x.txt"])
def test_pictures_are_told_by_what_they_hold(tmp_path: Path, encoding: str, name: str) -> None:
    suffix, options = ENCODINGS[encoding]
    path = tmp_path / name
    path.write_bytes(cv2.imencode(suffix, RED, options)[1].tobytes())
    assert images.is_picture(path)
    assert images.read_rgb(path).shape == RED.shape


@pytest.mark.parametrize("name", ["._x.jpg", ".DS_Store", "Thumbs.db", "__MACOSX/x.jpg"])
def test_litter(name: str) -> None:
    assert images.is_litter(Path(name))
    assert not images.is_litter(Path("x.jpg"))


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("seed", range(10))
def test_what_libjpeg_complains_of_is_damage_and_is_not_printed(
    tmp_path: Path, quality: int, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    encoded = bytearray(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded)
    images.read_rgb(path)
    path.write_bytes(encoded[: len(encoded) // 2])
    with pytest.raises(InputError, match="truncated or damaged JPEG"):
        images.read_rgb(path)
    assert capfd.readouterr() == ("", "")


def test_bytes_behind_a_jpeg_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(cv2.imencode(".jpg", RED)[1].tobytes() + b"\0" * 1000 + b"a camera's own notes")
    assert images.read_rgb(path).shape == RED.shape
