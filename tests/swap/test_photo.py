"""Photos of every kind come out as they went in, but for what was written into their pixels."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from mfs_edge.base import tiff
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.swap import photo

PICTURE = np.kron(np.random.default_rng(0).integers(0, 256, (10, 15, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
DEEP = PICTURE.astype(np.uint16) * 256 + np.random.default_rng(1).integers(0, 256, PICTURE.shape, np.uint16)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MAKER, TURN = 0x010F, 0x0112


def told() -> Image.Exif:
    """Turned by a quarter, and from somewhere."""
    found = Image.Exif()
    found[TURN], found[MAKER] = 6, "Maker"
    return found


def again(picture: photo.Photo, out: Path) -> Image.Image:
    """Written, and read by another library."""
    out.write_bytes(photo.encode(picture, out)[0])
    return Image.open(out)


@pytest.mark.parametrize("source", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_turn_profile_and_exif(source: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{source}"
    more = {".jpg": {"quality": 97}, ".webp": {"lossless": True}}.get(source, {})
    Image.fromarray(PICTURE).save(path, exif=told(), icc_profile=PROFILE, **more)
    read = photo.read(path)
    assert read.pixels.shape == (120, 80, 3)
    out = again(read, tmp_path / f"b{suffix}")
    assert out.size == (80, 120)
    assert out.info["icc_profile"] == PROFILE
    assert out.getexif()[MAKER] == "Maker"
    assert out.getexif()[TURN] == 1
    difference = np.abs(np.asarray(out.convert("RGB")).astype(int) - read.pixels)
    assert difference.mean() < 1.5
    assert suffix == ".jpg" or difference.max() == 0


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".bmp", ".webp", ".avif"])
def test_what_is_not_a_jpeg_loses_nothing(suffix: str, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), PICTURE[..., ::-1])
    out = tmp_path / f"b{suffix}"
    out.write_bytes(photo.encode(photo.read(tmp_path / "a.png"), out)[0])
    assert (cv2.imread(str(out))[..., ::-1] == PICTURE).all()


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_colours_below_a_tiffs_transparency(compression: str | None, tmp_path: Path) -> None:
    """They are what they were, and say what they are, for other libraries and here."""
    alpha = np.broadcast_to(np.arange(120, dtype=np.uint8) * 2, (80, 120))
    seen = np.dstack([PICTURE, alpha])
    Image.fromarray(seen).save(tmp_path / "a.tif", compression=compression)
    read = photo.read(tmp_path / "a.tif")
    assert read.alpha is not None
    assert (read.pixels == PICTURE).all()
    assert (read.alpha == alpha).all()
    out = again(read, tmp_path / "b.tif")
    assert (np.asarray(out) == seen).all()
    assert out.tag_v2[tiff.TRANSPARENCY] == (tiff.STRAIGHT,)
    assert (photo.read(tmp_path / "b.tif").pixels == PICTURE).all()
    assert (np.asarray(again(read, tmp_path / "b.png")) == seen).all()


def test_colours_that_are_multiplied_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for alpha, transparent in ((255, False), (128, True)):
        Image.fromarray(np.dstack([PICTURE, np.full(PICTURE.shape[:2], alpha, np.uint8)])).save(path)
        path.write_bytes(tiff.as_stored(path.read_bytes()))
        assert tiff.transparency(path.read_bytes()) == tiff.MULTIPLIED
        if transparent:
            with pytest.raises(InputError, match="multiplied by its transparency"):
                photo.read(path)
        else:
            assert (photo.read(path).pixels == PICTURE).all()


def test_a_transparency_that_is_not_read_is_not_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(PICTURE[..., :2], "LA").save(path)
    with pytest.raises(InputError, match="transparency cannot be read"):
        photo.read(path)


@pytest.mark.parametrize("quality", [70, 90, 95, 96, 98, 100])
def test_a_jpeg_is_saved_as_finely_as_it_was(quality: int, tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg", quality=quality)
    read = photo.read(tmp_path / "a.jpg")
    assert read.quality == max(95, quality)
    out = again(read, tmp_path / "b.jpeg")
    assert out.layer[0][1:3] == (1, 1), "no colour is subsampled"  # type: ignore[attr-defined]
    assert read.pixels.shape == PICTURE.shape


@pytest.mark.parametrize("turned", [1, 2, 3, 5, 6, 8])
def test_alpha_stays_where_it_is(turned: int, tmp_path: Path) -> None:
    alpha = np.random.default_rng(2).integers(0, 256, PICTURE.shape[:2], np.uint8)
    exif = Image.Exif()
    exif[TURN] = turned
    stored = Image.fromarray(np.dstack([PICTURE, alpha]))
    stored.save(tmp_path / "a.png", exif=exif)
    read = photo.read(tmp_path / "a.png")
    read.pixels[:20, :20] = 7
    found = np.asarray(again(read, tmp_path / "b.png"))
    from PIL import ImageOps

    upright = np.array(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    assert (found[..., 3] == upright[..., 3]).all()
    upright[:20, :20, :3] = 7
    assert (found == upright).all()


def test_alpha_is_not_lost_unsaid(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([PICTURE, PICTURE[..., 0]])).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="transparency, which a JPEG cannot hold"):
        photo.encode(photo.read(tmp_path / "a.png"), tmp_path / "b.jpg")
    Image.fromarray(np.dstack([PICTURE, np.full_like(PICTURE[..., 0], 255)])).save(tmp_path / "c.png")
    assert again(photo.read(tmp_path / "c.png"), tmp_path / "d.jpg").mode == "RGB"


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_stay_where_nothing_was_changed(suffix: str, channels: int, tmp_path: Path) -> None:
    deep = {1: DEEP[..., 0], 3: DEEP, 4: np.dstack([DEEP, DEEP[..., :1]])}[channels]
    cv2.imwrite(str(tmp_path / f"a{suffix}"), deep)
    read = photo.read(tmp_path / f"a{suffix}")
    changed = ~read.pixels[:20, :20]
    read.pixels[:20, :20] = changed
    out = tmp_path / f"b{suffix}"
    encoded, lost = photo.encode(read, out)
    out.write_bytes(encoded)
    found = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    assert lost == []
    assert found.dtype == np.uint16
    assert found.shape == deep.shape
    assert (found[20:] == deep[20:]).all()
    colours = found[:20, :20, None] if channels == 1 else found[:20, :20, 2::-1]
    assert (colours == changed[..., : colours.shape[2]].astype(np.uint16) * 257).all()


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), DEEP)
    _, lost = photo.encode(photo.read(tmp_path / "a.png"), tmp_path / "b.jpg")
    assert "8 of the 16 bits" in lost[0]
    Image.fromarray(PICTURE).save(tmp_path / "c.jpg", exif=told())
    _, lost = photo.encode(photo.read(tmp_path / "c.jpg"), tmp_path / "b.tif")
    assert "without the EXIF" in lost[0]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_grey_stays_grey(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(PICTURE[..., 0]).save(tmp_path / f"a{suffix}")
    read = photo.read(tmp_path / f"a{suffix}")
    before = read.pixels.copy()
    read.pixels[:20, :20] = (200, 100, 50)
    out = again(read, tmp_path / "b.png")
    assert out.mode == "L"
    found = np.asarray(out)
    assert (found[20:] == before[20:, :, 0]).all()
    assert (found[:20, :20] == 124).all()  # its luma


def test_the_profile_of_cmyk_is_not_put_on_rgb(tmp_path: Path) -> None:
    image = Image.fromarray(PICTURE).convert("CMYK")
    profile = bytearray(PROFILE)
    profile[16:20] = b"CMYK"
    image.save(tmp_path / "a.jpg", icc_profile=bytes(profile), quality=95)
    out = again(photo.read(tmp_path / "a.jpg"), tmp_path / "b.png")
    assert out.mode == "RGB"
    assert "icc_profile" not in out.info
    difference = np.asarray(out).astype(int) - PICTURE
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_an_animation_is_refused_and_not_made_a_still(kind: str, tmp_path: Path) -> None:
    first, second = Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)
    path = tmp_path / f"a.{kind.lower()}"
    first.save(path, save_all=True, append_images=[second])
    with pytest.raises(InputError, match="of 2 pictures"):
        photo.read(path)


def test_one_pixel(tmp_path: Path) -> None:
    Image.fromarray(PICTURE[:1, :1]).save(tmp_path / "a.png")
    assert again(photo.read(tmp_path / "a.png"), tmp_path / "b.png").size == (1, 1)


@pytest.mark.parametrize("name", ["a.gif", "a.heic", "a", "a.mp4", "a.png.txt"])
def test_formats_that_are_not_written(name: str) -> None:
    with pytest.raises(UsageError, match=r"end it in \.png, \.jpg"):
        photo.format_of(Path(name))


def test_suffixes_in_capitals() -> None:
    assert photo.format_of(Path("A.JPG")).name == "JPEG"


def test_a_jpeg_without_tables_is_saved_at_the_usual_quality() -> None:
    assert photo.quality_of(b"\xff\xd8\xff\xd9") == 95
    encoded = io.BytesIO()
    Image.fromarray(PICTURE).save(encoded, "JPEG", quality=30)
    assert photo.quality_of(encoded.getvalue()[:40]) == 95
