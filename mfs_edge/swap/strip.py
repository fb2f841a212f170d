"""A face's place in a frame, and the small pictures of it before and after that a report shows."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfs_edge.base import extras
from mfs_edge.face import align

_EXTRA = "swap"
_AROUND = 0.5  # of a face's box: what is shown around it
_SIDE = 240  # pixels of a small picture
_QUALITY = 85  # of its JPEG
_REACH = 2  # pixels beyond the crop that bilinear sampling may touch


@dataclass(frozen=True)
class Box:
    """Where in a frame a face may have changed anything, in whole pixels."""

    rows: slice
    columns: slice

    @property
    def area(self) -> int:
        return (self.rows.stop - self.rows.start) * (self.columns.stop - self.columns.start)


def box(landmarks: np.ndarray, height: int, width: int) -> Box:
    """What the crop of a face covers in a frame.

    Args:
        landmarks: float64 [5, 2], pixels.
        height: of the frame, in pixels.
        width: of the frame, in pixels.
    """
    size = float(align.ARCFACE_INPUT)
    matrix = np.vstack([align.affine(landmarks, align.ARCFACE_INPUT), [0.0, 0.0, 1.0]])
    corners = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]]).T
    x, y = (np.linalg.inv(matrix) @ corners)[:2]
    return Box(_span(y, height), _span(x, width))


def _span(values: np.ndarray, most: int) -> slice:
    first = int(np.clip(np.floor(values.min()) - _REACH, 0, most))
    return slice(first, int(np.clip(np.ceil(values.max()) + _REACH, first, most)))


@dataclass(frozen=True)
class Shown:
    """One frame of the strip."""

    index: int
    seconds: float
    before: np.ndarray  # uint8 [h, w, 3] RGB
    after: np.ndarray

    def as_urls(self) -> dict[str, Any]:
        """For a page: both pictures as data URLs, and their size."""
        height, width = self.before.shape[:2]
        told = {"index": self.index, "seconds": self.seconds, "width": width, "height": height}
        return {**told, "before": _url(self.before), "after": _url(self.after)}


def shown(index: int, seconds: float, before: np.ndarray, after: np.ndarray, face: Box) -> Shown:
    """The face and what is around it, small, of a frame [H, W, 3] before and after."""
    place = (_wider(face.rows), _wider(face.columns))
    return Shown(index, seconds, *(_small(image[place]) if face.area else _small(image) for image in (before, after)))


def _wider(part: slice) -> slice:
    around = round(_AROUND * (part.stop - part.start))
    return slice(max(0, part.start - around), part.stop + around)


def _small(image: np.ndarray) -> np.ndarray:
    cv2 = extras.require("cv2", _EXTRA)
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    sides = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk: np.ndarray = cv2.resize(image, sides, interpolation=cv2.INTER_AREA)
    return shrunk


def _url(image: np.ndarray) -> str:
    cv2 = extras.require("cv2", _EXTRA)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"
