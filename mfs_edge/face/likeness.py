"""Whether an aligned crop looks like a face: a cheap check, of landmarks and not of persons.

A linear filter on two coarse pictures of the crop, of where it has edges and of where it is
bright: around eyes and mouth there are edges, cheeks and forehead are smooth and bright.
``benchmarks/likeness.py`` fits it, on photographs and drawings, and shows what it refuses.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from mfs_edge.base import extras
from mfs_edge.face import align, likeness_weights

SIDE = align.ARCFACE_INPUT
CELLS = 14  # along a side of the coarse pictures
_FACE = (54.5, 71, 30, 38)  # in the 112 px crop: centre and half axes of what is looked at
_QUIET = 4.0  # an edge weaker than this, in levels per pixel times 4, is none


def score(image: np.ndarray, landmarks: np.ndarray) -> float:
    """How much like a face the aligned crop is, 0 to 1.

    Args:
        image: uint8 [H, W, 3] RGB.
        landmarks: float [5, 2] pixels.
    """
    *weights, offset = np.array(likeness_weights.WEIGHTS) / likeness_weights.SCALE
    return probability(float(features(image, landmarks) @ weights + offset))


def probability(logit: float) -> float:
    """The logistic function."""
    return 1 / (1 + math.exp(-logit))


def contrast(image: np.ndarray, landmarks: np.ndarray) -> float:
    """Standard deviation of brightness inside the face, 0 to 128 levels: uint8 [H, W, 3] and landmarks [5, 2]."""
    return float(crop(image, landmarks)[inside()].std())


def features(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """float64 [2 N]: the cells of the coarse pictures inside the face, each picture of mean 0 and length 1."""
    cv2 = extras.require("cv2", "compile")
    face = crop(image, landmarks)
    parts = []
    for picture in (_edges(face), cv2.GaussianBlur(face, (0, 0), 3)):
        cells = cv2.resize(picture, (CELLS, CELLS), interpolation=cv2.INTER_AREA)[_cells()].astype(np.float64)
        cells -= cells.mean()
        parts.append(cells / (np.linalg.norm(cells) + 1e-3))
    return np.concatenate(parts)


def crop(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """float32 [112, 112] brightness, aligned; a large face is averaged, not sampled."""
    cv2 = extras.require("cv2", "compile")
    part, matrix = align.reduced(image, align.affine(landmarks, SIDE), SIDE)
    if part.size == 0:
        return np.zeros((SIDE, SIDE), np.float32)
    grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
    warped: np.ndarray = cv2.warpAffine(grey, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    return warped.astype(np.float32)


def _edges(crop: np.ndarray) -> np.ndarray:
    cv2 = extras.require("cv2", "compile")
    smooth = cv2.GaussianBlur(crop, (0, 0), 1.2)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *way) for way in ((1, 0), (0, 1)))
    # What lies horizontally, as lids, brows and lips do, counts more than what stands, as a face's outline.
    strength = cv2.GaussianBlur(np.sqrt(across**2 / 2 + down**2), (0, 0), 3.5)
    found: np.ndarray = np.log(strength + _QUIET)
    return found


@functools.cache
def inside() -> np.ndarray:
    """bool [112, 112]: the pixels of the crop that are of the face."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    cx, cy, rx, ry = _FACE
    found: np.ndarray = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
    return found


@functools.cache
def _cells() -> np.ndarray:
    shares = inside().reshape(CELLS, SIDE // CELLS, CELLS, SIDE // CELLS).mean(axis=(1, 3))
    found: np.ndarray = shares > 0.5
    return found
