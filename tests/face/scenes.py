"""Photos made for tests: a face with known landmarks somewhere in a picture with other things in it."""

from __future__ import annotations

import functools
import json
import struct
from dataclasses import dataclass

import cv2
import numpy as np
import skimage.data

from mfs_edge import sample
from mfs_edge.face import align

DRAWN = {key: np.array(points) for key, points in json.loads((sample.FACES / "landmarks.json").read_text()).items()}
ORIENTATIONS = {1: None, 3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}  # as stored
JPEG = (cv2.IMWRITE_JPEG_QUALITY, 90)


@dataclass(frozen=True)
class Photo:
    """A picture, uint8 [H, W, 3] RGB, and where the face in it is, [5, 2] pixels."""

    image: np.ndarray
    landmarks: np.ndarray

    @functools.cached_property
    def crop(self) -> np.ndarray:
        """What is right: uint8 [224, 224, 3]."""
        return align.align(self.image, self.landmarks, align.CROP)


def noisy(points: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """As a detector finds them: off by ``share`` of the eyes' distance."""
    return points + rng.normal(0, share * np.hypot(*(points[1] - points[0])), points.shape)


def drawn(
    number: int, *, face: float = 200, roll: float = 0, turn: float = 0, room: float = 1.6, shift: float = 0.5
) -> Photo:
    """A drawn face, ``face`` px wide, rolled by degrees and turned aside (0 to 1), in a room with a texture."""
    picture, points = _turned(sample.target(number), DRAWN[f"target_{number:02}"], turn)
    side = round(224 * face / 150 * room)  # of the 224 px of a crop the face takes 150
    matrix = cv2.getRotationMatrix2D((112.0, 112.0), roll, face / 150)
    at = 112 * face / 150 + shift * (side - 224 * face / 150)
    matrix[:, 2] = matrix[:, 2] + (at - 112)
    mask = cv2.warpAffine(np.full((224, 224), 255, np.uint8), matrix, (side, side))
    wall = _wall(side, number)
    placed = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR)
    image = np.where(mask[..., None] > 127, placed, wall)
    return Photo(image, points @ matrix[:, :2].T + matrix[:, 2])


def _turned(picture: np.ndarray, points: np.ndarray, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """As if the head were turned: narrower, and the nose nearer to one cheek."""
    width, reach = 1 - 0.45 * turn, 30 * turn
    x, y = np.meshgrid(np.arange(224, dtype=np.float32), np.arange(224, dtype=np.float32))

    def pull(px: np.ndarray, py: np.ndarray) -> np.ndarray:
        nose: np.ndarray = reach * np.exp(-(((px - points[2, 0]) / 28) ** 2 + ((py - points[2, 1]) / 28) ** 2) / 2)
        return nose

    source = ((x - 112) / width + 112).astype(np.float32)
    turned = cv2.remap(
        picture, source - pull(source, y).astype(np.float32), y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    moved = points[:, 0] + pull(points[:, 0], points[:, 1])
    return turned, np.column_stack([(moved - 112) * width + 112, points[:, 1]])


def _wall(side: int, number: int) -> np.ndarray:
    texture = getattr(skimage.data, ("brick", "grass", "gravel")[number % 3])()
    tile = cv2.resize(texture, (max(side, 64), max(side, 64)))[:side, :side]
    return np.stack([tile, tile // 2 + 60, 255 - tile], axis=-1)


def portrait() -> Photo:
    """A photograph of NASA's, in the public domain."""
    return Photo(
        getattr(skimage.data, "astronaut")(),  # noqa: B009  # it has no types
        np.array([(201.7, 100), (247.3, 102.7), (226, 125), (205, 140.7), (243.3, 141.3)]),
    )


# Where eyes, nose and mouth are in the mean of these 25 px faces; the single ones differ by a pixel.
_LFW = np.array([(5.9, 8.1), (15.6, 8.1), (10.9, 13.4), (7.2, 17.8), (14.7, 17.8)])


@functools.cache
def _lfw() -> np.ndarray:
    faces: np.ndarray = getattr(skimage.data, "lfw_subset")()  # noqa: B009  # it has no types
    return faces


def small(number: int, enlarged: int = 8) -> Photo:
    """One of 100 faces of LFW, in grey, enlarged."""
    grey = np.clip(_lfw()[number] * 255, 0, 255).astype(np.uint8)
    large = cv2.resize(grey, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_CUBIC)
    return Photo(np.stack([large] * 3, axis=-1), (_LFW + 0.5) * enlarged - 0.5)


def encoded(image: np.ndarray, suffix: str, *options: int) -> bytes:
    """The file's bytes; ``image`` is RGB."""
    data: bytes = cv2.imencode(suffix, image[..., ::-1], list(options))[1].tobytes()
    return data


def turned_jpeg(image: np.ndarray, orientation: int) -> bytes:
    """A JPEG stored turned, with the EXIF note of how to show it."""
    turn = ORIENTATIONS[orientation]
    stored = image if turn is None else cv2.rotate(image, turn)
    body = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    jpeg = encoded(stored, ".jpg", *JPEG)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
