"""Pictures told by content, measured by their header, and checked for damage."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from mfs_edge.base import images, jpeg_codes, picture_damage, picture_formats
from mfs_edge.base.errors import InputError, UsageError

PHOTO: np.ndarray = np.ascontiguousarray(getattr(skimage.data, "astronaut")()[:300, :401])  # noqa: B009
SUFFIXES = (".png", ".jpg", ".webp", ".bmp", ".gif", ".avif", ".tiff", ".jp2", ".ppm", ".pam", ".ras")


def by_opencv(suffix: str, *options: int) -> bytes:
    data: bytes = cv2.imencode(suffix, PHOTO[..., ::-1], list(options))[1].tobytes()
    return data


def by_pillow(form: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).convert(mode).save(buffer, form, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


JPEG = by_opencv(".jpg")
EXOTIC = {
    "cmyk": by_pillow("JPEG", "CMYK"),
    "grey jpeg": by_pillow("JPEG", "L"),
    "optimised, 4:4:4": by_pillow("JPEG", quality=95, optimize=True, subsampling=0),
    "progressive": by_pillow("JPEG", progressive=True),
    "restart markers": by_opencv(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
    "bytes behind the end": JPEG + bytes(range(256)) * 4,
    "another picture behind the end": JPEG + JPEG,
    "without an end": JPEG[:-2],
    "zeros instead of an end": JPEG[:-2] + bytes(64),
    "zeros before the end": JPEG[:-2] + bytes(37) + JPEG[-2:],
    "progressive without an end": by_pillow("JPEG", progressive=True)[:-2],
    "a comment": JPEG[:2] + b"\xff\xfe\x00\x06text" + JPEG[2:],
    "exif that is nonsense": JPEG[:2] + b"\xff\xe1\x00\x0aExif\0\0\xff\xff" + JPEG[2:],
    "fast webp": by_pillow("WEBP", method=0, quality=70),
    "slow webp": by_pillow("WEBP", method=6, quality=20),
    "lossless webp": by_pillow("WEBP", lossless=True),
    "webp with alpha": by_pillow("WEBP", "RGBA"),
    "animated webp": by_pillow("WEBP", save_all=True, append_images=[Image.fromarray(PHOTO[::-1])]),
    "animated png": by_pillow("PNG", save_all=True, append_images=[Image.fromarray(PHOTO[::-1])]),
    "palette": by_pillow("PNG", "P"),
    "gif": by_pillow("GIF"),
    "tiff of jpegs": by_pillow("TIFF", compression="jpeg"),
    "deflated tiff": by_pillow("TIFF", compression="tiff_adobe_deflate"),
    "packed tiff": by_pillow("TIFF", compression="packbits"),
    "big tiff": by_pillow("TIFF", big_tiff=True),
    "old bmp": by_pillow("BMP"),
    "jpeg 2000": by_pillow("JPEG2000"),
}


@pytest.mark.parametrize("name", ["x", "x.JPG", "x.jfif", "x.txt", "x.npy"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_told_by_content(suffix: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(by_opencv(suffix))
    assert images.kind(tmp_path / name) is not None
    found = images.read_rgb(tmp_path / name)
    assert np.abs(found.astype(int) - PHOTO).mean() < 16  # GIF's palette


@pytest.mark.parametrize("name", list(EXOTIC))
def test_odd_files_that_are_whole(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_bytes(EXOTIC[name])
    assert np.abs(images.read_rgb(tmp_path / "x").astype(int) - PHOTO).mean() < 20
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [*SUFFIXES, *EXOTIC])
def test_sizes_from_the_header(name: str) -> None:
    data = EXOTIC[name] if name in EXOTIC else by_opencv(name)
    kind = picture_formats.kind(data[: picture_formats.HEAD])
    assert kind is not None
    assert picture_formats.pixels(data, kind) == (401, 300)


@pytest.mark.parametrize(
    "content", [b"", b"text", b"BM, a word", b"P5", b"\x93NUMPY\1\0", b"PK\3\4", b"GIF", b"RIFF1234WAVE"]
)
def test_what_is_no_picture(content: bytes) -> None:
    assert picture_formats.kind(content) is None


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_pictures_that_are_not_read_are_named(brand: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.heic").write_bytes(struct.pack(">I", 24) + b"ftyp" + brand + bytes(100))
    with pytest.raises(InputError, match=r"is a HEIC file, which is not read here; use a PNG or JPEG"):
        images.read_rgb(tmp_path / "x.heic")


# --- size --------------------------------------------------------------------------------------


def declared(data: bytes, at: int, form: str, *sizes: int) -> bytes:
    return data[:at] + struct.pack(form, *sizes) + data[at + struct.calcsize(form) :]


def gigantic_png(side: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(1 + 3 * side)) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


WEBP, TIFF, JP2 = by_opencv(".webp", cv2.IMWRITE_WEBP_QUALITY, 80), by_opencv(".tiff"), by_opencv(".jp2")
FRAME = JPEG.index(b"\xff\xc0")
BOMBS = {
    "PNG": declared(by_opencv(".png"), 16, ">II", 30_000, 30_000),
    "JPEG": declared(JPEG, FRAME + 5, ">HH", 60_000, 60_000),
    "WebP": declared(WEBP, WEBP.index(b"\x9d\x01\x2a") + 3, "<HH", 16_383, 16_383),
    "GIF": declared(by_opencv(".gif"), 6, "<HH", 60_000, 60_000),
    "BMP": declared(by_opencv(".bmp"), 18, "<ii", 30_000, -30_000),
    "AVIF": declared(by_opencv(".avif"), by_opencv(".avif").index(b"ispe") + 8, ">II", 30_000, 30_000),
    "JPEG 2000": declared(JP2, JP2.index(b"ihdr") + 4, ">II", 30_000, 30_000),
    "Netpbm": b"P6 # a comment\n30000 30000 255\n" + bytes(100),
    "Sun raster": declared(by_opencv(".ras"), 4, ">II", 30_000, 30_000),
    "TIFF": b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHIIHHII", 256, 4, 1, 30_000, 257, 4, 1, 30_000),
    "TIFF of a gigantic tile": b"II*\0\x08\0\0\0\x04\0"
    + b"".join(
        struct.pack("<HHII", tag, 4, 1, side) for tag, side in ((256, 9), (257, 9), (322, 60_000), (323, 60_000))
    ),
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_pixels_are_bounded_before_anything_is_decoded(name: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BOMBS[name])
    with pytest.raises(InputError, match=r"megapixels, more than 200; make it smaller, or set MFS_EDGE_MAX_PIXELS=\d+"):
        images.read_rgb(tmp_path / "x")


def test_the_bound_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(by_opencv(".png"))
    monkeypatch.setenv(images.RAISE_PIXELS, "120299")
    with pytest.raises(InputError, match="401x300"):
        images.read_rgb(tmp_path / "x.png")
    monkeypatch.setenv(images.RAISE_PIXELS, "120300")
    assert images.read_rgb(tmp_path / "x.png").shape == (300, 401, 3)
    monkeypatch.setenv(images.RAISE_PIXELS, "many")
    with pytest.raises(UsageError, match="not a number of pixels"):
        images.read_rgb(tmp_path / "x.png")


PEAK = """
import resource, sys
from pathlib import Path
from mfs_edge.base import images
from mfs_edge.base.errors import InputError
images.self_test()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(images.read_rgb(Path(sys.argv[1])).shape[0])
except InputError as error:
    print("refused")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(("side", "expected", "most"), [(10_000, "10000", 900), (15_000, "refused", 100)])
def test_memory_of_a_hundred_megapixels_and_of_a_bomb(side: int, expected: str, most: int, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(gigantic_png(side))
    environment = {key: value for key, value in os.environ.items() if key != images.RAISE_PIXELS}
    command = [sys.executable, "-c", PEAK, str(tmp_path / "x.png")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split()
    assert told[0] == expected
    assert int(told[1]) / 1024 < most  # MiB


# --- damage ------------------------------------------------------------------------------------


def test_the_libraries_complaint_has_the_files_name(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(JPEG[:4000] + JPEG[4300:])
    with pytest.raises(InputError) as caught:
        images.read_rgb(path)
    assert str(caught.value).startswith(f"{path}: is a damaged JPEG (")
    assert capfd.readouterr() == ("", "")


def test_a_shift_leaves_a_seam_that_nothing_else_does() -> None:
    whole = cv2.imdecode(np.frombuffer(JPEG, np.uint8), cv2.IMREAD_COLOR)
    assert picture_damage.seam(whole, (16, 16)) < picture_damage.MAX_SEAM / 1.2
    for level, unit in ((12, (16, 16)), (-20, (8, 8)), (30, (8, 16))):
        shifted = whole.astype(int)
        tall, wide = unit
        row, column = 100 // tall * tall, 200 // wide * wide
        shifted[row : row + tall, column:] += level
        shifted[row + tall :] += level
        shifted = np.clip(shifted, 0, 255).astype(np.uint8)
        assert picture_damage.seam(shifted, unit) > picture_damage.MAX_SEAM
    for rows in (slice(0, 96), slice(204, 300)):  # letterbox
        barred = whole.copy()
        barred[rows] = 0
        assert picture_damage.seam(barred, (16, 16)) < picture_damage.MAX_SEAM


def test_codes_that_no_encoder_writes() -> None:
    assert jpeg_codes.nonsense(JPEG) == ""
    assert all(jpeg_codes.nonsense(data) == "" for data in EXOTIC.values() if data[:2] == b"\xff\xd8")
    start = JPEG.index(b"\xff\xda") + 14
    rng = np.random.default_rng(0)
    damaged = [JPEG[:start] + rng.bytes(400).replace(b"\xff", b"\xfe") + JPEG[start + 400 :] for _ in range(10)]
    assert sum(jpeg_codes.nonsense(data) != "" for data in damaged) >= 9


def test_forty_bytes_overwritten_anywhere(tmp_path: Path) -> None:
    """Of those that change the picture by 3 levels and more on average, at most one in 25 is read."""
    path, rng, read = tmp_path / "x.jpg", np.random.default_rng(0), 0
    path.write_bytes(JPEG)
    right = images.read_rgb(path).astype(int)
    for at in rng.integers(700, len(JPEG) - 60, 100):
        path.write_bytes(JPEG[:at] + rng.bytes(40) + JPEG[at + 40 :])
        try:
            found = images.read_rgb(path)
        except InputError:
            continue
        read += np.abs(found - right).mean() > 3
    assert read <= 4


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".gif", ".tiff", ".png"])
def test_forty_bytes_of_other_formats(suffix: str, tmp_path: Path) -> None:
    path, rng = tmp_path / "x", np.random.default_rng(0)
    whole = by_opencv(suffix, *((cv2.IMWRITE_WEBP_QUALITY, 80) if suffix == ".webp" else ()))
    path.write_bytes(whole)
    right = images.read_rgb(path).astype(int)
    for at in rng.integers(len(whole) // 8, len(whole) - 600, 30):
        path.write_bytes(whole[:at] + rng.bytes(40) + whole[at + 40 :])
        try:
            found = images.read_rgb(path)
        except InputError:
            continue
        assert np.abs(found - right).mean() < 3
