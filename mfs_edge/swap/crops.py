"""An engine fed with bytes: aligned crops in, swapped crops and their masks out, whatever form a file takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mfs_edge.base import extras, frames
from mfs_edge.base.errors import InputError
from mfs_edge.base.reasons import reason_of

if TYPE_CHECKING:  # it travels to devices, see mfs_edge/measure/whole.py
    from mfs_edge.target import Engine

CHANNELS = 3


class Crops:
    """One engine and the buffer that it reads."""

    def __init__(self, engine: Engine, path: Path) -> None:
        """Take an engine of the artefact at ``path``; raises InputError if it takes no picture, or more than that."""
        self.engine, self.path = engine, path
        shapes = list(engine.inputs.items())
        square = [(name, shape, kind) for name, (shape, kind) in shapes if _side(shape)]
        if len(shapes) != 1 or len(square) != 1:
            told = ", ".join(f"{name} {list(shape)}" for name, (shape, _) in shapes)
            raise InputError(
                f"{path}: takes {told or 'nothing'}, not one picture; give an artefact of mfs-edge compile"
            )
        self.name, shape, kind = square[0]
        self.size, self.last = _side(shape), shape[3] == CHANNELS
        self.bytes = np.issubdtype(np.dtype(kind), np.integer)
        self._taken = np.zeros(shape, kind)

    def feed(self, crop: np.ndarray) -> None:
        """Set the next crop, uint8 [S, S, 3] RGB."""
        if self.last:
            self._fill(self._taken[0], crop)
        else:
            for plane, channel in enumerate(extras.require("cv2", "swap").split(crop)):
                self._fill(self._taken[0][plane], channel)
        self.engine.feed({self.name: self._taken})

    def _fill(self, into: np.ndarray, values: np.ndarray) -> None:
        if self.bytes:
            into[:] = values
        else:
            np.divide(values, frames.PEAK, out=into, casting="same_kind")

    def infer(self) -> None:
        """One frame; raises InputError with the runtime's words if it fails."""
        try:
            self.engine.infer()
        except Exception as error:  # the runtimes' exceptions share no base
            raise InputError(
                f"{self.path}: {self.engine.title} cannot run it ({reason_of(error)}); compile it again, or update it"
            ) from error

    def fetch(self) -> tuple[np.ndarray, np.ndarray]:
        """The swapped crop, [S, S, 3] RGB in 0..255, and its mask [S, S]: float32 in 0..1, or uint8 in 0..255.

        The crop is float32 where the artefact gives floats, else uint8.
        """
        found = self._named(self.engine.fetch())
        face, mask = self._last(found["swapped"]), self._last(found["mask"])
        if face.dtype != np.uint8:
            face = self._levels(face)
        return face, mask[..., 0] if mask.dtype == np.uint8 else np.asarray(mask[..., 0], np.float32)

    def _named(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """By name; where a format calls them otherwise, by their channels."""
        found = {}
        for name, value in outputs.items():
            channels = {value.shape[1], value.shape[3]} & set(frames.NAMES) if value.ndim == 4 else set()
            if self.size not in value.shape or not channels:
                raise InputError(f"{self.path}: gives {list(value.shape)}, and swaps no face; give another artefact")
            known = name if name in frames.NAMES.values() else frames.NAMES[channels.pop()]
            found[known] = value
        if set(found) != set(frames.NAMES.values()):
            raise InputError(f"{self.path}: gives {' and '.join(found)}, not a swapped face and its mask")
        return found

    def _last(self, value: np.ndarray) -> np.ndarray:
        """[S, S, C], finite."""
        if value.dtype != np.uint8 and not np.isfinite(value).all():
            raise InputError(
                f"{self.path}: gives values that are not finite; verify it with mfs-edge inspect, and compile it again"
            )
        picture = value[0]
        return picture.transpose(1, 2, 0) if picture.shape[0] in frames.NAMES else picture

    def _levels(self, face: np.ndarray) -> np.ndarray:
        cv2 = extras.require("cv2", "swap")
        planes = [np.asarray(face[..., channel], np.float32) for channel in range(CHANNELS)]
        levels: np.ndarray = cv2.merge(planes) * frames.PEAK
        return np.clip(levels, 0, frames.PEAK, out=levels)


def _side(shape: tuple[int, ...]) -> int:
    """Of the square pictures [1, 3, S, S] or [1, S, S, 3] that an input of this shape takes; 0 if it takes none."""
    if shape == (1, CHANNELS, *shape[2:]) and len(shape) == 4 and shape[2] == shape[3]:
        return shape[2]
    if len(shape) == 4 and shape == (1, shape[1], shape[1], CHANNELS):
        return shape[1]
    return 0
