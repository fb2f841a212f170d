"""Pictures of every kind that is read, by ``mfs_edge.base.images``; and landmarks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from cv2.utils import logging

from mfs_edge import sample
from mfs_edge.base import images
from mfs_edge.face import crop, landmark_files, landmarks
from tests.fuzz.registry import Sample, reader
from tests.fuzz.structures import binaries, texts

SIDE = 40
KINDS = ("png", "jpg", "webp", "bmp", "tiff", "gif", "avif", "jp2", "ppm", "pgm", "hdr", "ras", "exr")


def _face() -> np.ndarray:
    """uint8 [SIDE, SIDE, 3] BGR."""
    return np.ascontiguousarray(images.resize(sample.target(0), SIDE)[..., ::-1])


def _forms() -> list[np.ndarray]:
    """Colour, grey, 16 bits and with an alpha channel."""
    face = _face()
    return [
        face,
        face[..., 0],
        face.astype(np.uint16) * 257,
        np.dstack([face, face[..., 0]]),
        face.astype(np.float32) / 255,
    ]


def _encoded(kind: str) -> list[Sample]:
    """Every form that this kind of file can hold."""
    found = []
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    for form in _forms():
        try:
            done, encoded = cv2.imencode(f".{kind}", form)
        except cv2.error:  # not in this form
            continue
        if done:
            found.append(Sample(encoded.tobytes()))
    return found


def _samples(kind: str) -> Callable[[], list[Sample]]:
    return lambda: _encoded(kind)


def read_picture(path: Path) -> None:
    """As ``identity`` does: the picture, and what ArcFace reads of it."""
    crop.arcface_input(images.read_rgb(path), path.name)


def _register() -> None:
    for kind in KINDS:
        if not cv2.haveImageWriter(f"face.{kind}"):  # not by this build of OpenCV
            continue
        aware = [binaries.as_png] if kind == "png" else []
        common = kind in ("png", "jpg", "webp", "tiff")
        reader(
            f"picture-{kind}", file=f"face.{kind}", samples=_samples(kind), structures=aware, share=1 if common else 0.5
        )(read_picture)


_register()


def _points() -> list[Sample]:
    five = [[83.2, 96.4], [140.9, 95.8], [112.3, 129.1], [88.6, 162.9], [136.0, 162.5]]
    lines = "\n".join(f"{x}, {y}" for x, y in five)
    named = {"left_eye": five[0], "right_eye": five[1], "nose": five[2], "mouth_left": five[3], "mouth_right": five[4]}
    held = [
        five,
        {"landmarks": five},
        [{"box": [0, 0, 9, 9], "confidence": 1, "keypoints": named}],
        {"face_1": {"landmarks": named}},
    ]
    held += [{"kps": five}, [value for point in five for value in point]]
    return [Sample(lines.encode()), *(Sample(json.dumps(value).encode()) for value in held)]


PHOTO = sample.target(0)


@reader("landmarks", file="points.json", samples=_points, structures=[texts.as_json], share=2)
def read_landmarks(path: Path) -> None:
    landmarks.check(landmarks.in_pixels(landmark_files.read(path), 224, 224), PHOTO, "photo.png")


def _frames() -> list[Sample]:
    """Faces of a video's frames, in every form that is read."""
    five = [[75.5, 100.25], [150, 99.5], [112, 140], [80.125, 180], [145, 179]]
    held = [
        [[five, five], [], [five]],
        [five, None, five],
        {"frames": [[{"kps": five}], []]},
        {"0": [five], "12": five},
        [{"frame": 3, "faces": [five]}, {"frame": 0, "faces": []}],
    ]
    return [Sample(json.dumps(value).encode()) for value in held]


@reader("landmarks of frames", file="points.json", samples=_frames, structures=[texts.as_json])
def read_frames(path: Path) -> None:
    landmark_files.read_frames(path)
