"""Landmarks from files as what finds faces: of one picture, of a folder's pictures, or of a video's frames."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.face import landmark_files, landmarks
from mfs_edge.face.found import Face
from mfs_edge.swap.stream import Frame

SUFFIXES = (".json", ".txt", ".npy", ".csv")


class Given:
    """A file of five points, or a folder of files that are called as the pictures are."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        self.path, self.note = path, note

    def check(self) -> None:
        """Read the file, or see that there is a folder; raises InputError."""
        if not self.path.is_dir():
            _ = self._alone

    @functools.cached_property
    def _alone(self) -> np.ndarray:
        return landmark_files.read(self.path)

    def picture(self, image: np.ndarray, path: Path) -> list[Face]:
        """The face of one picture, uint8 [H, W, 3] RGB.

        Raises:
            InputError: there is no file for it, or its points cannot be those of a face in this picture.
        """
        points = landmark_files.read(self._of(path)) if self.path.is_dir() else self._alone
        placed = landmarks.in_pixels(points, image.shape[1], image.shape[0])
        fit = landmarks.check(placed, image, str(path), certain=False)
        if fit.likeness < landmarks.DOUBTFUL:
            self.note(f"{path}: what lies between the landmarks is little like a face ({fit.likeness:.2f}); look at it")
        return [Face(placed)]

    def _of(self, path: Path) -> Path:
        found = [self.path / f"{path.stem}{suffix}" for suffix in SUFFIXES]
        found += [self.path / f"{path.name}{suffix}" for suffix in SUFFIXES]
        there = [candidate for candidate in found if candidate.exists()]
        if len(there) == 1:
            return there[0]
        what = f"has {len(there)} files" if there else "has no file"
        raise InputError(f"{self.path}: {what} for {path.name}; give one that is called {path.stem}.json, .txt or .npy")

    def frame(self, frame: Frame) -> list[Face]:
        """The same points in every frame of a video.

        Raises:
            UsageError: a folder was given, which is for pictures.
        """
        if self.path.is_dir():
            raise UsageError(f"{self.path}: is a folder, which is for a folder of pictures; give a file for a video")
        height, width = frame.pixels.shape[:2]
        return [Face(landmarks.in_pixels(self._alone, width, height))]
