"""Figures of a stream in the room of a few: whatever its length, memory stays the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from mfs_edge.face.found import Face

T = TypeVar("T")


@dataclass
class Running:
    """Mean, least and most of values that come one by one."""

    count: int = 0
    total: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.least, self.most = min(self.least, value), max(self.most, value)

    @property
    def mean(self) -> float | None:
        """None where nothing came."""
        return self.total / self.count if self.count else None

    def as_json(self) -> dict[str, Any] | None:
        """``mean``, ``least``, ``most`` and ``count``; None where nothing came."""
        if not self.count:
            return None
        return {"mean": self.mean, "least": self.least, "most": self.most, "count": self.count}


class Thinned(Generic[T]):
    """Some of the things that come one by one, spread evenly over all of them however many there will be."""

    def __init__(self, most: int) -> None:
        """Keep ``most`` at the end, and less than twice as many on the way."""
        self._most, self._every, self._count = most, 1, 0
        self._kept: list[T] = []

    def add(self, make: Callable[[], T]) -> None:
        """The next one, which ``make`` makes if it is to be kept."""
        if self._count % self._every == 0:
            self._kept.append(make())
            if len(self._kept) == 2 * self._most:
                self._kept, self._every = self._kept[::2], 2 * self._every
        self._count += 1

    @property
    def kept(self) -> list[T]:
        """Those that are left, in their order."""
        if len(self._kept) <= self._most:
            return list(self._kept)
        return [self._kept[number] for number in np.linspace(0, len(self._kept) - 1, self._most).round().astype(int)]


@dataclass
class Jitter:
    """How far points lie from where the frames before and after would have them.

    Of three frames one behind the other it is the distance of the middle one's points from the mean of the
    others': nothing for a face that moves evenly, and for noise of s px in each coordinate s times the square
    root of 3.
    """

    squares: Running = field(default_factory=Running)  # px^2
    eyes: Running = field(default_factory=Running)  # px between them
    before: dict[int, list[tuple[int, np.ndarray]]] = field(default_factory=dict)  # by track: up to three frames

    def add(self, index: int, faces: list[Face]) -> None:
        """The faces of the frame ``index``; tracks that are not in it begin anew."""
        fresh = {}
        for face in faces:
            points = np.array(face.landmarks, np.float64)
            history = [*self.before.get(face.track, ()), (index, points)][-3:]
            if [number for number, _ in history] == [index - 2, index - 1, index]:
                (_, first), (_, middle), (_, last) = history
                self.squares.add(float(np.mean(np.sum((middle - (first + last) / 2) ** 2, axis=1))))
            self.eyes.add(face.eyes)
            fresh[face.track] = history
        self.before = fresh

    def as_json(self) -> dict[str, Any] | None:
        """Root mean square in pixels and as a share of the eyes' distance; None for less than three frames."""
        if not self.squares.count or not self.eyes.mean:
            return None
        pixels = float(np.sqrt(self.squares.mean or 0.0))
        return {"px": pixels, "share_of_eye_distance": pixels / self.eyes.mean, "count": self.squares.count}
