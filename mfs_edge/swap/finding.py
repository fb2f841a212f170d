"""Where faces come from: landmarks that were given, a callable of the user's, or the detector."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.face.found import Face
from mfs_edge.swap.given import Given
from mfs_edge.swap.stream import Frame

if TYPE_CHECKING:
    from mfs_edge.face.detect import Detector

Find = Callable[[Frame], list[Face]]
Note = Callable[[str], None]
Points = Callable[[np.ndarray, float], Iterable[Any]]  # a user's: faces, or five points [5, 2] each


@dataclass(frozen=True)
class Finding:
    """What finds the faces of a run; models are loaded when the first picture asks for them."""

    landmarks: Path | None = None  # a file, or a folder of files named like the pictures
    finder: Points | None = None
    models: Path | None = None  # the folder with the detector's
    note: Note = lambda line: None

    def __post_init__(self) -> None:
        if self.landmarks is not None and self.finder is not None:
            raise UsageError("landmarks and a finder were both given; give one of them")

    @functools.cached_property
    def _given(self) -> Given:
        assert self.landmarks is not None
        return Given(self.landmarks, self.note)

    @functools.cached_property
    def detector(self) -> Detector:
        """BlazeFace and Face Mesh, for single pictures."""
        from mfs_edge.face.detect import Detector

        return Detector(self.models)

    def check(self, *, frames: bool = False) -> None:
        """Before any work: can it find faces, or those of a video's ``frames``? Raises as :meth:`picture`."""
        if self.landmarks is not None:
            self._given.check(frames=frames)
        elif self.finder is None:
            _ = self.detector

    def picture(self, image: np.ndarray, path: Path) -> list[Face]:
        """The faces of a photo, uint8 [H, W, 3] RGB, that was read from ``path``; the largest first.

        Raises:
            InputError: landmarks that were given are missing or are not a face's, or a finder gave something else.
            MissingDependency: the detector's models are not there.
        """
        if self.landmarks is not None:
            return self._given.picture(image, path)
        return checked(self.finder(image, 0.0)) if self.finder else self.detector(image, 0.0)

    def stream(self, *, most: int | None = None) -> tuple[Find, Any]:
        """What finds the faces of a video's frames, and what of it remembers from frame to frame; or None.

        Args:
            most: faces that are of interest; None is all.
        """
        if self.landmarks is not None:
            return self._given.frame, None
        if self.finder is not None:
            given = self.finder
            memory = given if hasattr(given, "state") and hasattr(given, "restore") else None
            return lambda frame: checked(given(frame.pixels, frame.seconds)), memory
        from mfs_edge.face.track import Tracker

        tracker = Tracker(self.detector, most=most)
        memory = tracker if hasattr(tracker, "state") and hasattr(tracker, "restore") else None
        return lambda frame: tracker(frame.pixels, frame.seconds), memory

    def ended(self, frames: int) -> None:
        """A video had so many frames: tell what does not go with that."""
        if self.landmarks is not None:
            self._given.ended(frames)


def checked(found: Iterable[Any]) -> list[Face]:
    """What a user's finder gave, the largest first, each with a track of its own.

    Args:
        found: faces, or arrays of five points [5, 2] in pixels.

    Raises:
        InputError: it is something else.
    """
    faces = [one if isinstance(one, Face) else Face(_five(one)) for one in found]
    for face in faces:
        _five(face.landmarks)
    if len({face.track for face in faces}) < len(faces):
        faces = [replace(face, track=number) for number, face in enumerate(faces)]
    return sorted(faces, key=lambda face: -face.eyes)


def _five(points: Any) -> np.ndarray:
    try:
        five = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        five = np.empty(0)
    if five.shape != (5, 2) or not np.isfinite(five).all():
        raise InputError(
            f"the finder gave {type(points).__name__} of shape {list(np.shape(five))}; it has to give Face objects, or "
            "five finite points [5, 2] in pixels for each face"
        )
    return five
