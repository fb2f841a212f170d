"""Landmarks from files as what finds faces: of one picture, of a folder's pictures, or of a video's frames."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mfs_edge.base.errors import IdentityError, InputError
from mfs_edge.face import align, landmark_files, landmarks, likeness
from mfs_edge.face.found import Face
from mfs_edge.swap.frame import placed as affine
from mfs_edge.swap.stream import Frame

SUFFIXES = (".json", ".txt", ".npy", ".csv")
LOOKS = 30  # faces of a video that are looked at, until one surely is where the file has it


class Given:
    """A file of faces or frames; or a folder of files that are called as pictures are, or numbered as frames."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        self.path, self.note = path, note
        self._looks = LOOKS

    def check(self, *, frames: bool = False) -> None:
        """Read the file, or see that there is a folder; of a video's ``frames`` all; raises InputError."""
        if frames:
            _ = self._frames
        elif not self.path.is_dir():
            _ = self._alone

    @functools.cached_property
    def _alone(self) -> list[np.ndarray]:
        return landmark_files.read_all(self.path)

    @functools.cached_property
    def _frames(self) -> Mapping[int, list[np.ndarray]]:
        return landmark_files.read_frames(self.path)

    def picture(self, image: np.ndarray, path: Path) -> list[Face]:
        """The faces of one picture, uint8 [H, W, 3] RGB, the largest first.

        Raises:
            InputError: there is no file for it, or its points cannot be those of a face in this picture.
        """
        points = landmark_files.read_all(self._of(path)) if self.path.is_dir() else self._alone
        placed = [landmarks.in_pixels(five, image.shape[1], image.shape[0]) for five in points]
        for five in placed:
            fit = landmarks.check(five, image, str(path), certain=False)
            if fit.likeness < landmarks.DOUBTFUL:
                self.note(f"{path}: what lies between the landmarks looks little like a face ({fit.likeness:.2f})")
        return _faces(placed)

    def _of(self, path: Path) -> Path:
        found = [self.path / f"{path.stem}{suffix}" for suffix in SUFFIXES]
        found += [self.path / f"{path.name}{suffix}" for suffix in SUFFIXES]
        there = [candidate for candidate in found if candidate.exists()]
        if len(there) == 1:
            return there[0]
        what = f"has {len(there)} files" if there else "has no file"
        raise InputError(f"{self.path}: {what} for {path.name}; give one that is called {path.stem}.json, .txt or .npy")

    def frame(self, frame: Frame) -> list[Face]:
        """The faces of a frame: what the file or the folder has for it, or what it has for all of them.

        Raises:
            InputError: it has none for this frame, or points that lie outside of it, make no face, or are much more
                likely those of another size or in another order.
        """
        if frame.index not in self._frames and self._frames.keys() != {0}:
            raise InputError(f"{self.path}: has nothing for frame {frame.index}; give [] for a frame without a face")
        height, width = frame.pixels.shape[:2]
        found = self._frames.get(frame.index, self._frames[0] if self._frames.keys() == {0} else [])
        placed = [landmarks.in_pixels(five, width, height) for five in found]
        for five in placed:
            middle = five.mean(axis=0)
            if (middle < 0).any() or (middle > (width, height)).any():
                x, y = np.round(middle).astype(int)
                raise InputError(
                    f"{self.path}: the face of frame {frame.index} at {x},{y} lies outside of its {width}x{height} "
                    "pixels; give pixels of this very video"
                )
            self._judge(five, frame)
        return _faces(placed)

    def _judge(self, five: np.ndarray, frame: Frame) -> None:
        name = f"{self.path}: frame {frame.index}"
        try:
            affine(five, align.CROP)
            if self._looks > 0 and likeness.contrast(frame.pixels, five) >= landmarks.MIN_CONTRAST:  # else it is dark
                fit = landmarks.check(five, frame.pixels, name, certain=False)
                self._looks = 0 if fit.likeness >= landmarks.DOUBTFUL else self._looks - 1
        except IdentityError as error:
            raise InputError(str(error)) from error
        except InputError as error:
            raise InputError(f"{name}: {error}") from error

    def ended(self, frames: int) -> None:
        """Of a video that had so many: tell what the file has beyond."""
        last = max(self._frames, default=0)
        if last >= frames:
            self.note(
                f"{self.path}: goes on to frame {last}, and the video ends with frame {frames - 1}; is it its own?"
            )


def _faces(points: list[np.ndarray]) -> list[Face]:
    """In a file's order each is a track: where it lists several, the first is the same one from frame to frame."""
    return sorted((Face(five, track=number) for number, five in enumerate(points)), key=lambda face: -face.eyes)
