"""Points that do not tremble: the one-euro filter (Casiez, Roussel and Vogel, CHI 2012), and how much they do.

A low-pass filter whose cutoff rises with the speed: what stands still is smoothed much, what moves lags little.
Speeds are in distances of the eyes per second, so that a face's size and the frame rate change nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mfs_edge.face import align

CUTOFF = 0.5  # Hz, of what stands still
GAIN = 30.0  # Hz by which it rises for each distance of the eyes that is moved in a second
SPEED_CUTOFF = 1.5  # Hz, of the speed itself
GAP = 1.0  # s without a frame, after which what was before counts nothing


class OneEuro:
    """The filter, for the points of one face."""

    def __init__(self, cutoff: float = CUTOFF, gain: float = GAIN, speed_cutoff: float = SPEED_CUTOFF) -> None:
        self.cutoff, self.gain, self.speed_cutoff = cutoff, gain, speed_cutoff
        self._seconds = -math.inf
        self._points = self._raw = self._speeds = np.zeros((0, 2))

    def __call__(self, points: np.ndarray, seconds: float) -> np.ndarray:
        """The points smoothed: float [5, 2] pixels to the same.

        Args:
            points: of one face.
            seconds: their time. Where it does not rise, or a second is missing, the filter starts anew.
        """
        step = seconds - self._seconds
        if not 0 < step < GAP or not len(self._raw):
            self._points, self._speeds = points.astype(np.float64), np.zeros_like(points, np.float64)
        else:
            size = size_of(points)
            speeds = (points - self._raw) / (step * size)
            self._speeds = self._speeds + _weight(self.speed_cutoff, step) * (speeds - self._speeds)
            # A head moves as a whole: what all points do is known better than what one does.
            common = float(np.hypot(*self._speeds.mean(axis=0)))
            own = np.hypot(*(self._speeds - self._speeds.mean(axis=0)).T)
            weights = _weight(self.cutoff + self.gain * (common + OWN * own), step)
            self._points = self._points + weights[:, None] * (points - self._points)
        self._raw, self._seconds = points.astype(np.float64), seconds
        return self._points.copy()

    def state(self) -> dict[str, Any]:
        """What it remembers, as JSON; its settings are not in it."""
        arrays = {"points": self._points, "raw": self._raw, "speeds": self._speeds}
        seconds = self._seconds if math.isfinite(self._seconds) else None
        return {"seconds": seconds, **{name: array.tolist() for name, array in arrays.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._seconds = -math.inf if state["seconds"] is None else float(state["seconds"])
        self._points, self._raw, self._speeds = (
            np.array(state[name], np.float64).reshape(-1, 2) for name in ("points", "raw", "speeds")
        )


OWN = 0.3  # how much a point's own speed counts beside the face's
_TEMPLATE = align.TEMPLATE - align.TEMPLATE.mean(axis=0)
_EYES = float(align.TEMPLATE[1, 0] - align.TEMPLATE[0, 0])


def size_of(points: np.ndarray) -> float:
    """The distance of the eyes of a face, [5, 2] pixels, if it looked here: a turned head's eyes come together."""
    spread = float(np.sqrt(((points - points.mean(axis=0)) ** 2).sum() / (_TEMPLATE**2).sum()))
    return max(_EYES * spread, 1e-6)


def _weight(cutoff: float | np.ndarray, step: float) -> np.ndarray:
    """Of the new value, 0..1: scalar or [N] cutoffs in Hz, and seconds since the last one."""
    weight: np.ndarray = np.asarray(1 / (1 + 1 / (2 * math.pi * np.asarray(cutoff) * step)))
    return weight


def jitter(points: np.ndarray) -> float:
    """How much points tremble from frame to frame, in pixels, whether or not they move.

    The root mean square of how far each frame's points lie from the middle between its neighbours', scaled so that
    it is the standard deviation of noise that is new in every frame. Steady motion counts nothing.

    Args:
        points: float [T, N, 2] pixels, of T frames at a steady rate; fewer than three tell nothing, and give 0.
    """
    if len(points) < 3:
        return 0.0
    bent = points[2:] - 2 * points[1:-1] + points[:-2]
    return float(np.sqrt((bent**2).sum(axis=-1).mean() / 6 / 2))
