"""A face that was found in a picture, and what finds faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Face:
    """A face, and where it is."""

    landmarks: np.ndarray  # float64 [5, 2], pixels x, y: both eyes, the nose, both mouth corners, left to right
    score: float = 1.0  # 0..1, how sure it is a face; 1 where landmarks were given
    track: int = 0  # the same for the same face from frame to frame; within a picture each face has its own
    unsmoothed: np.ndarray | None = None  # the landmarks as they were found, where ``landmarks`` are smoothed

    @property
    def eyes(self) -> float:
        """The distance between the eyes in pixels: what counts as a face's size."""
        return float(np.hypot(*(self.landmarks[1] - self.landmarks[0])))


class Finder(Protocol):
    """Anything that finds faces: a detector, a tracker, a file of landmarks, or a callable of the user's."""

    def __call__(self, image: np.ndarray, seconds: float) -> list[Face]:
        """The faces of one picture, the largest first; none is an empty list.

        Args:
            image: uint8 [H, W, 3] RGB; not to be written to.
            seconds: its time in a video or since a camera's start, rising from call to call; 0 for a photo.
        """
        ...
