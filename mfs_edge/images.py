"""Pictures in and out: float RGB arrays in 0..1, never OpenCV's BGR bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mfs_edge import extras, files
from mfs_edge.errors import InputError

SUFFIXES = frozenset(".png .jpg .jpeg .bmp .webp .tif .tiff".split())


def read_rgb(path: Path) -> np.ndarray:
    """The picture in ``path`` as uint8 [H, W, 3] RGB, EXIF rotation applied, alpha dropped.

    Raises:
        InputError: it is not a readable picture.
    """
    cv2 = extras.require("cv2", "compile")
    files.require_file(path, "picture")
    # imdecode, unlike imread, prints nothing and takes any path.
    encoded = np.frombuffer(path.read_bytes(), np.uint8)
    try:
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"{path}: is not a readable picture ({error.err}); use a PNG or JPEG file") from error
    if image is None:
        raise InputError(f"{path}: is not a readable picture; use a PNG or JPEG file")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def write_rgb(path: Path, image: np.ndarray) -> None:
    """Write uint8 [H, W, 3] RGB as PNG, atomically."""
    cv2 = extras.require("cv2", "compile")
    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    with files.atomic(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """``image`` [H, W, C] at [size, size, C]: area averages when shrinking, else bilinear."""
    cv2 = extras.require("cv2", "compile")
    shrinking = size < max(image.shape[:2])
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)


def to_nchw(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] in 0..255 -> float32 [1, 3, H, W] in 0..1."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / np.float32(255)


def to_bytes(tensor: np.ndarray) -> np.ndarray:
    """float [1, 3, H, W] in 0..1 -> uint8 [H, W, 3]."""
    return np.rint(np.clip(tensor[0].transpose(1, 2, 0), 0, 1) * 255).astype(np.uint8)
