"""Pictures in and out: float RGB arrays in 0..1, never OpenCV's BGR bytes."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import numpy as np

from mfs_edge.base import extras, files
from mfs_edge.base.errors import InputError

SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"])
_PNG = b"\x89PNG\r\n\x1a\n"


def read_rgb(path: Path) -> np.ndarray:
    """The picture in ``path`` as uint8 [H, W, 3] RGB, EXIF rotation applied, alpha dropped.

    16-bit pictures keep their upper byte; grey ones become three equal channels.

    Raises:
        InputError: it is not a readable picture.
    """
    cv2 = extras.require("cv2", "compile")
    encoded = files.require_file(path, "picture").read_bytes()
    if encoded.startswith(_PNG) and not _png_is_whole(encoded):
        raise InputError(f"{path}: is a truncated or damaged PNG; copy or download it again")
    logging = extras.require("cv2.utils.logging", "compile")
    previous = logging.setLogLevel(logging.LOG_LEVEL_SILENT)  # it would print what the errors below say
    try:
        # imdecode takes any path, where imread has its own ideas of encodings.
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(
            f"{path}: is not a readable picture ({error.err.strip().splitlines()[0]}); use a PNG or JPEG file"
        ) from error
    finally:
        logging.setLogLevel(previous)
    if image is None:
        raise InputError(f"{path}: is not a readable picture; use a PNG or JPEG file")
    rgb: np.ndarray = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return rgb


def _png_is_whole(encoded: bytes) -> bool:
    """Whether every chunk is there and has its checksum.

    OpenCV's decoder prints complaints of its own on the rest, and some versions of it
    return half a picture.
    """
    position = len(_PNG)
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
