"""Faces in a picture: BlazeFace finds them in windows of several scales, Face Mesh says where they are.

BlazeFace sees a window of 128 px, and faces that fill a sixth of it and more. So a picture is looked at
whole, from farther away, and in overlapping windows at ever larger scales.
What it finds is a guess that is quick to be made and often wrong on textures; a face is what
Face Mesh takes for one, with five points that make a face in what is seen there (``likeness``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mfs_edge.base import extras
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.face import blaze, landmarks, likeness, network
from mfs_edge.face.blaze import SIDE, BlazeFace
from mfs_edge.face.found import Face
from mfs_edge.face.mesh import FaceMesh, Meshed, Region, region_of
from mfs_edge.face.network import Network

THRESHOLD = 0.5  # of a face's score, at which it counts
GUESS = 0.3  # of BlazeFace's, at which it is worth a look
OF_ONE = 0.5  # guesses whose boxes have so much in common (intersection over union) are one
LOOKS = 6  # of Face Mesh at one guess, at most; 1 to 3 are usual
SETTLED = 0.04  # of the eyes' distance: points that moved less than that between two looks stay
HOPELESS = 0.3  # Face Mesh's score at the second look; of 98 faces (views of the astronaut, and LFW's) at least 0.97
KEPT = 0.6  # of the threshold: the least score of a face that is followed
NEAR = 0.7  # of the eyes' distance, between the middles of one face found twice
STRIDE = SIDE // 2  # between windows: a face that fills half of one lies whole in another
FINEST = 8  # windows along a picture's longer side at the finest scale: a face of 1/40 of it is found
AWAY = 0.5  # the whole picture also so much smaller, for a face that fills it
MOST = 100  # guesses that are looked at in one picture; the likeliest
ALL_SCALES, COARSE = 99, 3


@dataclass(frozen=True)
class Sighting:
    """A face, and where Face Mesh looks for it next time."""

    face: Face
    region: Region
    raw: np.ndarray  # float64 [5, 2] pixels: the mesh's own points, see ``mesh.fitted``


def scales(width: int, height: int) -> list[float]:
    """How much a picture is scaled before windows are cut from it, the coarsest first; the finer ones never enlarge."""
    whole = SIDE / max(width, height)
    found, finer = [AWAY * whole, whole], 2 * whole
    while finer <= 1 and (finer <= FINEST * whole or finer * min(width, height) < 2 * SIDE):
        found.append(finer)
        finer *= 2
    return found


def windows(image: np.ndarray, scale: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Overlapping windows, uint8 [128, 128, 3], of a picture [H, W, 3] at one scale, and where each begins [2].

    What is smaller than a window lies in the middle of one, on black.
    """
    cv2 = extras.require("cv2", "swap")
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    smaller = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    for top in _begins(size[1]):
        for left in _begins(size[0]):
            window = np.zeros((SIDE, SIDE, 3), np.uint8)
            part = smaller[max(top, 0) : top + SIDE, max(left, 0) : left + SIDE]
            y, x = max(-top, 0), max(-left, 0)
            window[y : y + part.shape[0], x : x + part.shape[1]] = part
            yield window, np.array([left, top])


def _begins(length: int) -> list[int]:
    if length <= SIDE:
        return [-((SIDE - length) // 2)]
    return [*range(0, length - SIDE, STRIDE), length - SIDE]


class Detector:
    """Finds the faces of single pictures: a ``Finder``. Not to be shared by threads."""

    def __init__(
        self,
        folder: Path | None = None,
        threshold: float = THRESHOLD,
        *,
        networks: tuple[Network, Network] | None = None,
    ) -> None:
        """Load the models.

        Args:
            folder: that holds them; None is where ``models.find`` looks.
            threshold: the least score of a face, 0..1.
            networks: BlazeFace's and Face Mesh's, where they are open already; then no folder is looked into.

        Raises:
            MissingDependency: the models were never fetched, or LiteRT or OpenCV is not installed.
            InputError: the folder does not hold them.
            UsageError: there is no such threshold.
        """
        if not 0 < threshold <= 1:
            raise UsageError(
                f"a face's score lies between 0 and 1, and a threshold too, not at {threshold:g}; usual is 0.5"
            )
        extras.require("cv2", "swap")
        self.threshold = threshold
        finds, places = networks or _opened(folder)
        self._blaze, self._mesh = BlazeFace(finds), FaceMesh(places)

    def __call__(self, image: np.ndarray, seconds: float = 0.0) -> list[Face]:
        """The faces of a picture, the largest first, numbered as tracks in this order.

        Args:
            image: uint8 [H, W, 3] RGB; not written to.
            seconds: as of ``Finder``; of no consequence here.
        """
        found = sorted((sighting.face for sighting in self.sightings(image)), key=lambda face: -face.eyes)
        return [replace(face, track=number) for number, face in enumerate(found)]

    def sightings(self, image: np.ndarray, *, finest: int = ALL_SCALES) -> list[Sighting]:
        """The faces of a picture, uint8 [H, W, 3] RGB, the likeliest first.

        Args:
            image: not written to.
            finest: how many scales to look at, from the coarsest on.
        """
        _check(image)
        found: list[Sighting] = []
        for region in self._guesses(image, finest):
            seen = self._settled(image, region)
            if seen is not None and not any(same(seen.face, other.face) for other in found):
                found.append(seen)
        return sorted(found, key=lambda sighting: -sighting.face.score)

    def follow(self, image: np.ndarray, region: Region) -> Sighting | None:
        """The face in a region of a picture, uint8 [H, W, 3] RGB, where it was a moment ago; None if it is none.

        One look, or two where it has moved. A face that was found is kept at a lower score than it was found at.
        """
        seen = self._mesh(image, region)
        if seen.score >= HOPELESS and not seen.region.near(region):
            seen = self._mesh(image, seen.region)
        return self._judged(image, seen, KEPT * self.threshold)

    def _settled(self, image: np.ndarray, region: Region) -> Sighting | None:
        """The face near a region that was guessed: looked at until its points stay where they are.

        Of a face they soon do. On what is none they wander, or Face Mesh stops to take it for one.
        """
        before = self._mesh(image, region)
        for _ in range(LOOKS):
            seen = self._mesh(image, before.region)
            if seen.score < HOPELESS:
                return None
            moved = float(np.hypot(*(seen.raw - before.raw).T).max())
            if moved < SETTLED * float(np.hypot(*(seen.raw[1] - seen.raw[0]))):
                return self._judged(image, seen, self.threshold)
            before = seen
        return None

    def _judged(self, image: np.ndarray, seen: Meshed, threshold: float) -> Sighting | None:
        five = seen.five
        if seen.score < threshold or not _plausible(five, image.shape):
            return None
        score = seen.score * likeness.score(image, five)
        return Sighting(Face(five, score), seen.region, seen.raw) if score >= threshold else None

    def _guesses(self, image: np.ndarray, finest: int) -> list[Region]:
        """Where faces may be, the likeliest first."""
        found = [
            self._blaze(window, GUESS).placed(begin, scale)
            for scale in scales(image.shape[1], image.shape[0])[:finest]
            for window, begin in windows(image, scale)
        ]
        scores, boxes, points = (np.concatenate([getattr(f, n) for f in found]) for n in ("scores", "boxes", "points"))
        kept: list[int] = []
        for number in np.argsort(-scores, kind="stable"):
            if not kept or (blaze.overlaps(boxes[number], boxes[kept]) < OF_ONE).all():
                kept.append(int(number))
        return [region_of(_corners(boxes[n]), points[n, [blaze.RIGHT_EYE, blaze.LEFT_EYE]]) for n in kept[:MOST]]


def _opened(folder: Path | None) -> tuple[Network, Network]:
    from mfs_edge.face import models  # a device has neither the cache nor its settings

    found = models.find(folder)
    return network.opened(found.detector), network.opened(found.mesh)


def same(one: Face, other: Face) -> bool:
    """Whether two findings are of one face: their middles are nearer than the larger one's eyes."""
    apart = float(np.hypot(*(one.landmarks.mean(axis=0) - other.landmarks.mean(axis=0))))
    return apart < NEAR * max(one.eyes, other.eyes)


def _corners(box: np.ndarray) -> np.ndarray:
    left, top, right, bottom = box
    return np.array([(left, top), (right, top), (left, bottom), (right, bottom)])


def _plausible(five: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether five points [5, 2] can be those of a face that is at least partly in the picture."""
    height, width = shape[:2]
    middle = five.mean(axis=0)
    return bool((middle >= 0).all() and (middle < (width, height)).all()) and landmarks.shapely(five)


def _check(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"faces are found in uint8 [H, W, 3] RGB, not in {image.dtype} {list(image.shape)}")
    if max(image.shape) > landmarks.MAX_SIDE:
        size = f"{image.shape[1]}x{image.shape[0]}"
        raise InputError(f"a picture of {size} px has more than {landmarks.MAX_SIDE} on a side; make it smaller")
