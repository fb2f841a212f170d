"""A photo in and out: upright, with its alpha, depth, colour profile and EXIF, in the format that a suffix names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mfs_edge.base import extras, images, quiet, tiff
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.swap import exif

EXTRA = "swap"
FINEST, LEAST_QUALITY = 100, 95  # of a JPEG
_EXIF, _PROFILE = 0, 2  # OpenCV's IMAGE_METADATA_EXIF and _ICCP
_SEVERAL = ("PNG", "WebP", "GIF", "AVIF", "TIFF")  # formats that can hold more than one picture
# IJG's luminance table; a quality scales it.
_BASE = np.array(
    [16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51,
     61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77,
     113, 121, 112, 100, 120, 92, 101, 103, 99]
)  # fmt: skip


@dataclass(frozen=True)
class Format:
    """What a file format can hold."""

    name: str
    extension: str  # by which OpenCV knows it
    alpha: bool = False
    deep: bool = False  # 16 bits
    tells: bool = True  # EXIF and a colour profile


_JPEG, _TIFF = Format("JPEG", ".jpg"), Format("TIFF", ".tiff", alpha=True, deep=True, tells=False)
FORMATS = {
    ".png": Format("PNG", ".png", alpha=True, deep=True),
    **dict.fromkeys((".jpg", ".jpeg", ".jfif"), _JPEG),
    ".webp": Format("WebP", ".webp", alpha=True),
    ".avif": Format("AVIF", ".avif", alpha=True),
    **dict.fromkeys((".tif", ".tiff"), _TIFF),
    ".bmp": Format("BMP", ".bmp", tells=False),
}


@dataclass
class Photo:
    """A picture that was read; ``pixels`` may be written to."""

    path: Path
    pixels: np.ndarray  # uint8 [H, W, 3] RGB, upright
    alpha: np.ndarray | None = None  # uint8 or uint16 [H, W]
    deep: np.ndarray | None = None  # uint16 [H, W, 3] RGB, of which ``pixels`` holds the upper bytes
    grey: bool = False  # stored without colour
    exif: bytes = b""
    profile: bytes = b""  # ICC
    quality: int = LEAST_QUALITY
    before: np.ndarray | None = field(default=None, repr=False)  # ``pixels`` as they were read, where ``deep`` is


def format_of(path: Path) -> Format:
    """What ``path`` is to be written as.

    Raises:
        UsageError: its suffix names no format that is written here.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise UsageError(f"{path}: is written in the format that its name ends in; end it in {', '.join(FORMATS)}")
    return found


def read(path: Path) -> Photo:
    """The photo in ``path``.

    Raises:
        InputError: it is no picture, damaged, an animation, of numbers that are not 8 or 16 bits, or of colours that
            are multiplied by a transparency.
    """
    pixels = images.read_rgb(path)
    kind = images.kind(path)
    if kind in _SEVERAL:
        _require_one(path, kind)
    encoded = path.read_bytes()
    stored, told = _stored(tiff.as_stored(encoded) if kind == "TIFF" else encoded)
    photo = Photo(path, pixels, exif=told.get(_EXIF, b""), profile=told.get(_PROFILE, b""))
    if kind == "JPEG":
        photo.quality = quality_of(encoded)
    if stored is None:  # of a kind whose numbers were read all the same: a Radiance HDR, say
        return photo
    if stored.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: holds {stored.dtype.name} numbers, not 8 or 16 bits; save it as a PNG with 16 bits")
    planes = stored.reshape(*stored.shape[:2], -1)
    photo.grey = planes.shape[2] <= 2
    if stored.dtype == np.uint16 or planes.shape[2] in (2, 4):
        _keep(photo, planes)
    if kind == "TIFF":
        _require_straight(photo, tiff.transparency(encoded))
    return photo


def _require_straight(photo: Photo, said: int) -> None:
    """What a TIFF says of its transparency fits what was read of it."""
    if said and photo.alpha is None:  # as of greys
        raise InputError(f"{photo.path}: its transparency cannot be read; save it as a PNG")
    if said == tiff.MULTIPLIED and _is_transparent(photo):
        raise InputError(f"{photo.path}: its colours are multiplied by its transparency; save it as a PNG")


def _is_transparent(photo: Photo) -> bool:
    return photo.alpha is not None and bool(photo.alpha.min() < np.iinfo(photo.alpha.dtype).max)


def _require_one(path: Path, kind: str) -> None:
    with quiet.caught():
        count = extras.require("cv2", EXTRA).imcount(str(path))
    if count > 1:
        raise InputError(f"{path}: is a {kind} of {count} pictures; give one of them, or all as a video")


def _stored(encoded: bytes) -> tuple[np.ndarray | None, dict[int, bytes]]:
    """The numbers as the file has them, [H, W] or [H, W, C], and what else it tells."""
    cv2 = extras.require("cv2", EXTRA)
    with quiet.caught():
        try:
            stored, kinds, blocks = cv2.imdecodeWithMetadata(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            return None, {}
    return stored, {int(kind): block.tobytes() for kind, block in zip(kinds, blocks, strict=True)}


def _keep(photo: Photo, planes: np.ndarray) -> None:
    """Alpha and the lower bytes, turned as the picture was."""
    upright = next((turned for turned in _turns(planes) if _same(turned, photo.pixels)), None)
    if upright is None:
        raise InputError(f"{photo.path}: its transparency or 16 bits cannot be read; save it as a PNG with 8 bits")
    if planes.shape[2] in (2, 4):
        photo.alpha = np.ascontiguousarray(upright[..., -1])
    if planes.dtype == np.uint16:
        photo.deep, photo.before = np.ascontiguousarray(_rgb(upright)), photo.pixels.copy()


def _turns(planes: np.ndarray) -> Iterator[np.ndarray]:
    """``planes`` [H, W, C] as the eight orientations of EXIF show them."""
    for quarters in range(4):
        turned = np.rot90(planes, quarters)
        yield turned
        yield turned[:, ::-1]


def _rgb(planes: np.ndarray) -> np.ndarray:
    """[H, W, 3] of OpenCV's planes [H, W, 1 to 4]."""
    return np.broadcast_to(planes[..., :1], (*planes.shape[:2], 3)) if planes.shape[2] <= 2 else planes[..., 2::-1]


def _same(planes: np.ndarray, pixels: np.ndarray) -> bool:
    if planes.shape[:2] != pixels.shape[:2]:
        return False
    levels = _rgb(planes)
    if levels.dtype == np.uint16:
        levels = (levels >> 8).astype(np.uint8)
    low, high = np.minimum(levels, pixels), np.maximum(levels, pixels)
    return int((high - low).max(initial=0)) <= 1  # TIFF's 16 bits are rounded


def quality_of(encoded: bytes) -> int:
    """The quality at which a JPEG is to be saved again: as fine as it was, at least ``LEAST_QUALITY``."""
    table = _luminance(encoded)
    if table is None:
        return LEAST_QUALITY
    qualities = range(LEAST_QUALITY, FINEST)
    return next((quality for quality in qualities if _scaled(quality) <= table), FINEST)


def _scaled(quality: int) -> int:
    """The sum of the table that IJG's encoders make of a quality from 50 on."""
    return int(np.clip((_BASE * (200 - 2 * quality) + 50) // 100, 1, 255).sum())


def _luminance(encoded: bytes) -> int | None:
    """The sum of the first quantisation table; None if there is none."""
    at = 2
    while at + 4 <= len(encoded) and encoded[at] == 0xFF and encoded[at + 1] != 0xDA:
        length = int.from_bytes(encoded[at + 2 : at + 4], "big")
        body = encoded[at + 4 : at + 2 + length]
        if encoded[at + 1] == 0xDB and len(body) >= 65:
            wide = body[0] >> 4
            return (
                int(np.frombuffer(body[1:], ">u2" if wide else np.uint8, 64).sum()) if len(body) > 128 * wide else None
            )
        at += 2 + length
    return None


def encode(photo: Photo, out: Path) -> tuple[bytes, list[str]]:
    """The photo with what was changed in its ``pixels``, as a file's bytes; and what did not fit into the format.

    Raises:
        UsageError: the format cannot hold what must not be lost.
        InputError: OpenCV refuses the picture, as WebP does above 16383 pixels on a side.
    """
    form, lost = format_of(out), []
    if _is_transparent(photo) and not form.alpha:
        raise UsageError(f"{out}: {photo.path} has transparency, which a {form.name} cannot hold; end its name in .png")
    if photo.deep is not None and not form.deep:
        lost.append(f"{out}: a {form.name} holds 8 of the 16 bits of {photo.path}; end its name in .png to keep them")
    planes = _planes(photo, deep=photo.deep is not None and form.deep, alpha=form.alpha)
    told = _told(photo, planes)
    if photo.exif and _EXIF not in told:
        lost.append(f"{out}: the EXIF of {photo.path} is damaged, or its preview cannot be taken out, and is left out")
    if told and not form.tells:
        lost.append(f"{out}: a {form.name} is written without the EXIF and the colour profile of {photo.path}")
    cv2 = extras.require("cv2", EXTRA)
    try:
        kept = told if form.tells else {}
        blocks = [np.frombuffer(block, np.uint8) for block in kept.values()]
        written, encoded = cv2.imencodeWithMetadata(form.extension, planes, list(kept), blocks, _settings(form, photo))
    except cv2.error as error:
        raise InputError(f"{out}: OpenCV writes no such {form.name} ({error.err}); end its name in .png") from error
    if not written:
        raise InputError(f"{out}: OpenCV writes no such {form.name}; end its name in .png")
    whole = encoded.tobytes()
    return tiff.tell_straight(whole) if form is _TIFF and planes.ndim == 3 and planes.shape[2] == 4 else whole, lost


def _told(photo: Photo, planes: np.ndarray) -> dict[int, bytes]:
    height, width = photo.pixels.shape[:2]
    block = exif.upright(photo.exif, width, height) if photo.exif else b""
    # A profile of CMYK or of greys says nothing about RGB.
    space = b"GRAY" if planes.ndim == 2 else b"RGB "
    profile = photo.profile if photo.profile[16:20] == space else b""
    return {kind: data for kind, data in ((_EXIF, block), (_PROFILE, profile)) if data}


def _planes(photo: Photo, *, deep: bool, alpha: bool) -> np.ndarray:
    """[H, W], or [H, W, 3 or 4] in OpenCV's order."""
    cv2 = extras.require("cv2", EXTRA)
    colours = _deepened(photo) if deep else photo.pixels
    if photo.grey and photo.alpha is None:
        grey: np.ndarray = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
        return grey
    if photo.grey:  # stays without colour
        colours = cv2.cvtColor(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    planes: np.ndarray = cv2.cvtColor(colours, cv2.COLOR_RGB2BGR)
    if photo.alpha is None or not alpha:
        return planes
    share = photo.alpha if photo.alpha.dtype == planes.dtype else (photo.alpha >> 8).astype(planes.dtype)
    return np.dstack([planes, share])


def _deepened(photo: Photo) -> np.ndarray:
    """uint16 [H, W, 3]: what was not changed has all of its bits."""
    assert photo.deep is not None
    return np.where(photo.pixels != photo.before, photo.pixels.astype(np.uint16) * 257, photo.deep)


def _settings(form: Format, photo: Photo) -> list[int]:
    """Nothing is lost but by a JPEG, and there no colour by subsampling."""
    cv2 = extras.require("cv2", EXTRA)
    if form is _JPEG:
        full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        return [cv2.IMWRITE_JPEG_QUALITY, photo.quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
    lossless = {"WebP": [cv2.IMWRITE_WEBP_QUALITY, 101], "AVIF": [cv2.IMWRITE_AVIF_QUALITY, 100]}
    return lossless.get(form.name, [])
