"""Pictures in and out: float RGB arrays in 0..1, never OpenCV's BGR bytes."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mfs_edge.base import extras, files
from mfs_edge.base.errors import InputError

SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif", ".jfif"])
STDERR = 2
_ALONE = threading.Lock()
# What OpenCV reads, told by the first bytes: names lie. (offset, bytes) -> what it is called.
_KINDS = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"#?RADIANCE", "HDR"),
    (0, b"\x76\x2f\x31\x01", "EXR"),
    (0, b"\x59\xa6\x6a\x95", "Sun raster"),
    *((0, b"P" + str(n).encode() + space, "PNM") for n in range(1, 8) for space in (b"\n", b" ", b"\r", b"\t")),
    (0, b"PF\n", "PFM"),
    (0, b"Pf\n", "PFM"),
)
HEAD = 16  # bytes that tell
# Left by systems and archivers beside what people mean.
_LITTER = frozenset([".ds_store", "thumbs.db", "desktop.ini"])
PIXELS_VARIABLE = "OPENCV_IO_MAX_IMAGE_PIXELS"  # OpenCV's own, read when it is loaded; held to before decoding
MAX_PIXELS = 128_000_000  # some 800 MB while it is decoded
# What decoders print of damage that they then paper over with grey or the pixels before it.
_DAMAGE = ("corrupt", "premature", "error", "invalid", "truncated", "unexpected", "bad ", "too short", "failed")


def kind(head: bytes) -> str | None:
    """What picture a file is that begins with ``head`` (``HEAD`` bytes), such as "JPEG"; None if it is none."""
    return next((name for offset, magic, name in _KINDS if head[offset : offset + len(magic)] == magic), None)


def is_picture(path: Path) -> bool:
    """Whether the file's first bytes are a picture's, whatever it is called."""
    try:
        with path.open("rb") as file:
            return kind(file.read(HEAD)) is not None
    except OSError:
        return False


def is_meant_as_picture(path: Path) -> bool:
    """Whether it is a picture, or is at least called one: damage is then told, and not passed over."""
    return is_picture(path) or path.suffix.lower() in SUFFIXES


def is_litter(path: Path) -> bool:
    """Whether a system or an archiver left it beside what people mean, such as ``._photo.jpg``."""
    return path.name.startswith("._") or path.name.lower() in _LITTER or "__MACOSX" in path.parts


def read_rgb(path: Path) -> np.ndarray:
    """The picture in ``path`` as uint8 [H, W, 3] RGB, EXIF rotation applied, alpha dropped.

    16-bit pictures keep their upper byte; grey ones become three equal channels.

    Raises:
        InputError: it is not a readable picture, or not a whole one.
    """
    encoded = files.require_file(path, "picture").read_bytes()
    what = kind(encoded[:HEAD])
    if what is None:
        raise InputError(f"{path}: is not a readable picture; use a PNG or JPEG file")
    if what == "PNG" and not _png_is_whole(encoded):
        raise InputError(f"{path}: is a truncated or damaged PNG; copy or download it again")
    image, said = _decoded(path, encoded, what)
    damage = next((line for line in said.splitlines() if any(word in line.lower() for word in _DAMAGE)), None)
    if damage is not None:
        words = "" if damage.startswith("[") else f" ({damage.strip()[:100]})"  # OpenCV's own name its source
        raise InputError(f"{path}: is a truncated or damaged {what}{words}; copy or download it again")
    if image is None:
        raise InputError(f"{path}: is a truncated or damaged {what}, or of an unusual sort; use a PNG or JPEG file")
    return image


def _decoded(path: Path, encoded: bytes, what: str) -> tuple[np.ndarray | None, str]:
    """uint8 [H, W, 3] RGB, or None; and what the decoder said of it."""
    os.environ.setdefault(PIXELS_VARIABLE, str(MAX_PIXELS))
    cv2 = extras.require("cv2", "compile")
    try:
        with _complaints() as said:
            # imdecode takes any path, where imread has its own ideas of encodings.
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        reason = error.err.strip().splitlines()[0]
        if "MAX_IMAGE_PIXELS" in reason:
            raise InputError(
                f"{path}: is a {what} of more than {int(os.environ[PIXELS_VARIABLE]):,} pixels; make it smaller, or "
                f"raise the bound with {PIXELS_VARIABLE}=N"
            ) from error
        raise InputError(f"{path}: is not a readable {what} ({reason}); use a PNG or JPEG file") from error
    return (None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)), "".join(said)


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what C libraries print on standard error: libjpeg tells of damage only there, without a name.

    The whole process's standard error goes to a file meanwhile; only one thread at a time does that.
    """
    logging = extras.require("cv2.utils.logging", "compile")
    said: list[str] = []
    with _ALONE, tempfile.TemporaryFile() as room:
        previous = logging.setLogLevel(logging.LOG_LEVEL_WARNING)
        try:
            kept = os.dup(STDERR)
        except OSError:  # closed: nothing is printed, and libjpeg's words are lost
            yield said
            return
        try:
            os.dup2(room.fileno(), STDERR)
            yield said
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)
            logging.setLogLevel(previous)
            room.seek(0)
            said.append(room.read().decode(errors="replace"))


def _png_is_whole(encoded: bytes) -> bool:
    """Whether every chunk is there and has its checksum.

    OpenCV's decoder prints complaints of its own on the rest, and some versions of it
    return half a picture.
    """
    position = len(_KINDS[0][1])
    while position + 12 <= len(encoded):
        length = int.from_bytes(encoded[position : position + 4], "big")
        body = memoryview(encoded)[position + 4 : position + 8 + length]
        checksum = encoded[position + 8 + length : position + 12 + length]
        if zlib.crc32(body).to_bytes(4, "big") != checksum:
            return False
        if bytes(body[:4]) == b"IEND":
            return True
        position += 12 + length
    return False


def write_rgb(path: Path, image: np.ndarray) -> None:
    """Write uint8 [H, W, 3] RGB as PNG, atomically."""
    cv2 = extras.require("cv2", "compile")
    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    with files.atomic(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """``image`` [H, W, C] at [size, size, C]: area averages when shrinking, else bilinear."""
    cv2 = extras.require("cv2", "compile")
    shrinking = size < max(image.shape[:2])
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    resized: np.ndarray = cv2.resize(image, (size, size), interpolation=method)
    return resized


def self_test() -> None:
    """Write, read and shrink a picture; for ``doctor``: some builds of OpenCV lack what is used here."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tiny.png")
        picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        write_rgb(path, picture)
        if not np.array_equal(read_rgb(path), picture) or resize(picture, 2).shape != (2, 2, 3):
            raise InputError(f"{path}: OpenCV read another picture than it wrote; install another version of it")


def to_nchw(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] in 0..255 -> float32 [1, 3, H, W] in 0..1."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / np.float32(255)


def to_bytes(tensor: np.ndarray) -> np.ndarray:
    """float [1, 3, H, W] in 0..1 -> uint8 [H, W, 3]."""
    levels: np.ndarray = np.rint(np.clip(tensor[0].transpose(1, 2, 0), 0, 1) * 255)
    return levels.astype(np.uint8)
