"""Pictures made of a photograph whose face is known, and pictures without a face."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import skimage.data

FACE = 100.0  # px, the width of the face in scikit-image's astronaut
SWAPPED = [1, 0, 2, 4, 3]  # of five points, in a mirror
# No face is in them; camera has one, coins' are of metal and of half a centimetre, lfw and astronaut are faces.
FACELESS = (
    *("coffee", "chelsea", "rocket", "coins", "brick", "grass", "gravel", "hubble_deep_field", "moon", "clock"),
    *("immunohistochemistry", "text", "page", "retina", "horse", "colorwheel", "microaneurysms", "motorcycle"),
)


@functools.cache
def picture(name: str) -> np.ndarray:
    """One of scikit-image's, uint8 [H, W, 3]."""
    found = getattr(skimage.data, "stereo_motorcycle" if name == "motorcycle" else name)()
    found = found[0] if name == "motorcycle" else found
    found = found.astype(np.uint8) * 255 if found.dtype == bool else found
    found = np.stack([found] * 3, axis=-1) if found.ndim == 2 else found[..., :3]
    return np.ascontiguousarray(found)


@dataclass(frozen=True)
class View:
    """How a picture is changed, and with it where its points are."""

    turn: float = 0.0  # degrees
    face: float = FACE  # px wide
    bright: float = 1.0
    blur: float = 0.0  # standard deviation, in widths of the face
    mirrored: bool = False
    noise: float = 0.0  # levels

    def matrix(self, shape: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, int]]:
        """Affine [2, 3] into the new picture, and that one's width and height: all of the old one is in it."""
        height, width = shape[:2]
        scale = self.face / FACE
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), self.turn, scale)
        if self.mirrored:
            matrix = matrix @ np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1.0]])
        size = (round(width * scale), round(height * scale))
        matrix[:, 2] = matrix[:, 2] + (np.array(size) - np.array([width, height])) / 2
        return matrix, size

    def of(self, image: np.ndarray, seed: int = 0) -> np.ndarray:
        """The picture, uint8 [H, W, 3], so changed; what turns into it from outside is its border's colour."""
        matrix, size = self.matrix(image.shape)
        # What is made smaller is averaged first, as a camera would.
        sigma = float(np.hypot(self.blur * FACE, 0.4 * max(FACE / self.face - 1, 0)))
        sharp = cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.1 else image
        seen = cv2.warpAffine(sharp, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        noise = np.random.default_rng(seed).normal(0, self.noise, seen.shape) if self.noise else 0.0
        if self.bright == 1 and not self.noise:
            return seen
        return np.clip(seen * np.float32(self.bright) + noise, 0, 255).astype(np.uint8)

    def points(self, points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Where points [5, 2] of the picture of this shape then are."""
        matrix, _ = self.matrix(shape)
        moved: np.ndarray = points @ matrix[:, :2].T + matrix[:, 2]
        return moved[SWAPPED] if self.mirrored else moved


def views(count: int, seed: int) -> Iterator[View]:
    """Turned by up to 30 degrees, 60 to 1000 px wide, down to a third as bright, blurred, mirrored."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield View(
            turn=rng.uniform(-30, 30),
            face=60 * (1000 / 60) ** rng.uniform(),
            bright=rng.uniform(0.3, 1),
            blur=rng.uniform(0, 0.02),
            mirrored=rng.uniform() < 0.5,
        )


def faceless(count: int, seed: int) -> Iterator[np.ndarray]:
    """Square crops, uint8 [S, S, 3], of a third to the whole of scikit-image's other pictures, some enlarged."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        image = picture(FACELESS[number % len(FACELESS)])
        side = int(min(image.shape[:2]) * rng.uniform(1 / 3, 1))
        top, left = (int(rng.integers(0, length - side + 1)) for length in image.shape[:2])
        crop = image[top : top + side, left : left + side]
        yield cv2.resize(crop, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC) if rng.uniform() < 0.5 else crop.copy()


def error(found: np.ndarray, right: np.ndarray) -> float:
    """The worst of five points [5, 2], in distances of the eyes."""
    return float(np.hypot(*(found - right).T).max() / np.hypot(*(right[1] - right[0])))
