"""Faces followed from frame to frame, each under a number of its own.

The detector looks over the first frame, and over one after a cut or where a face was lost. In between Face Mesh looks
where each face was, moved on as it moved. New faces are looked for twice a second at the coarse scales,
and every three seconds at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mfs_edge.base import extras
from mfs_edge.face.detect import ALL_SCALES, COARSE, Detector, Sighting, same
from mfs_edge.face.found import Face
from mfs_edge.face.mesh import Region
from mfs_edge.face.smooth import GAP, OneEuro, size_of

COARSE_SECONDS = 0.5  # between looks for new faces at the coarse scales
FINE_SECONDS = 3.0  # and at all scales
REMEMBERED = 1.0  # s for which a face that was lost keeps its number
REACH = 1.5  # distances of the eyes from where it should be, at which a face that was lost is taken up again
GROWN = 1.6  # how much larger or smaller it may then be
STILL = 0.05  # of the eyes' distance: less motion than that in a frame is none
THUMBNAIL = 32  # px
CUT_LIKE, CUT_LEVELS = 0.6, 10.0  # two frames that are less alike (correlation), and differ by more (levels): a cut


@dataclass(eq=False)
class _Track:
    """One face, as it was when it was last seen."""

    number: int
    sighting: Sighting
    seconds: float
    smooth: OneEuro = field(default_factory=OneEuro)
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))  # pixels per second

    def shift(self, seconds: float) -> np.ndarray:
        """How far it should have moved by now, [2] pixels."""
        return self.velocity * max(0.0, seconds - self.seconds)

    def update(self, sighting: Sighting, seconds: float) -> None:
        step = seconds - self.seconds
        moved = sighting.raw.mean(axis=0) - self.sighting.raw.mean(axis=0)
        moves = 0 < step < GAP and float(np.hypot(*moved)) > STILL * size_of(sighting.raw)
        self.velocity = moved / step if moves else np.zeros(2)
        # What sees the same stays where it is: a region that trembles makes points tremble.
        held = self.sighting.region.near(sighting.region)
        self.sighting = replace(sighting, region=self.sighting.region) if held else sighting
        self.seconds = seconds

    def state(self) -> dict[str, Any]:
        """As JSON: numbers to the last bit."""
        face, region = self.sighting.face, self.sighting.region
        return {
            "number": self.number,
            "seconds": self.seconds,
            "landmarks": face.landmarks.tolist(),
            "score": float(face.score),
            "region": [*region.centre.tolist(), float(region.side), float(region.angle)],
            "raw": self.sighting.raw.tolist(),
            "velocity": self.velocity.tolist(),
            "smooth": self.smooth.state(),
        }

    @classmethod
    def of(cls, state: dict[str, Any]) -> _Track:
        """What :meth:`state` was asked of."""
        x, y, side, angle = state["region"]
        face = Face(np.array(state["landmarks"], np.float64), state["score"])
        sighting = Sighting(face, Region(np.array([x, y]), side, angle), np.array(state["raw"], np.float64))
        track = cls(int(state["number"]), sighting, state["seconds"], velocity=np.array(state["velocity"]))
        track.smooth.restore(state["smooth"])
        return track


class Tracker:
    """Follows the faces of a stream: a ``Finder``. One for each stream, called with its frames in their order."""

    def __init__(self, detector: Detector, smooth: bool = True, *, most: int | None = None) -> None:
        """Nothing is followed yet.

        Args:
            detector: finds faces in single pictures; the stream's own, not to be shared by threads.
            smooth: the points, by ``OneEuro``.
            most: faces to follow; while there are as many, no others are looked for. None is all.
        """
        self.detector, self.smooth, self.most = detector, smooth, most
        self._tracks: list[_Track] = []
        self._lost: list[_Track] = []
        self._next = 0
        self._thumbnail: np.ndarray | None = None
        self._coarse = self._fine = -math.inf  # when it was last looked for new faces

    def __call__(self, image: np.ndarray, seconds: float) -> list[Face]:
        """The faces of the next frame, the largest first; a number stays with its face.

        Args:
            image: uint8 [H, W, 3] RGB; not written to.
            seconds: its time, rising.
        """
        if self._is_cut(image):
            self._tracks, self._lost, self._coarse, self._fine = [], [], -math.inf, -math.inf
        lost = self._follow(image, seconds)
        self._lost = [track for track in self._lost if 0 <= seconds - track.seconds < REMEMBERED]
        finest = self._due(seconds, lost=lost)
        if finest is not None:
            self._search(image, seconds, finest)
        found = [self._face(track, seconds) for track in self._tracks]
        return sorted(found, key=lambda face: (-face.eyes, face.track))

    def state(self) -> dict[str, Any]:
        """All that decides about the frames to come, as JSON (``swap.stream.Memory``)."""
        return {
            "tracks": [track.state() for track in self._tracks],
            "lost": [track.state() for track in self._lost],
            "next": self._next,
            "thumbnail": None if self._thumbnail is None else self._thumbnail.tolist(),
            "looked": [_finite(self._coarse), _finite(self._fine)],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave: the next frame's faces are those that the other would have found."""
        self._tracks = [_Track.of(each) for each in state["tracks"]]
        self._lost = [_Track.of(each) for each in state["lost"]]
        self._next = int(state["next"])
        thumbnail = state["thumbnail"]
        self._thumbnail = None if thumbnail is None else np.array(thumbnail, np.float32)
        self._coarse, self._fine = (-math.inf if value is None else float(value) for value in state["looked"])

    def _is_cut(self, image: np.ndarray) -> bool:
        before, self._thumbnail = self._thumbnail, thumbnail(image)
        return before is not None and cut(before, self._thumbnail)

    def _follow(self, image: np.ndarray, seconds: float) -> bool:
        """Look where the faces were; whether one was lost."""
        seen: list[tuple[_Track, Sighting]] = []
        gone: list[_Track] = []
        for track in self._tracks:
            region = track.sighting.region.moved(track.shift(seconds))
            sighting = self.detector.follow(image, region)
            if sighting is None:
                gone.append(track)
            else:
                seen.append((track, sighting))
        kept: list[tuple[_Track, Sighting]] = []
        # Two that meet at one face: it is the one's that should be there, the other is behind it.
        for track, sighting in sorted(seen, key=lambda pair: _surprise(pair[0], pair[1], seconds)):
            if any(same(sighting.face, other.face) for _, other in kept):
                gone.append(track)
            else:
                kept.append((track, sighting))
        for track, sighting in kept:
            track.update(sighting, seconds)
        self._tracks = sorted((track for track, _ in kept), key=lambda track: track.number)
        self._lost += gone
        return bool(gone)

    def _due(self, seconds: float, *, lost: bool) -> int | None:
        """At how many scales it is time to look for faces; None if it is not."""
        if self.most is not None and len(self._tracks) >= self.most:
            return None
        if lost or not 0 <= seconds - self._fine < FINE_SECONDS:
            self._fine = self._coarse = seconds
            return ALL_SCALES
        if self._lost or not self._tracks or not 0 <= seconds - self._coarse < COARSE_SECONDS:
            self._coarse = seconds
            return COARSE
        return None

    def _search(self, image: np.ndarray, seconds: float, finest: int) -> None:
        sightings = self.detector.sightings(image, finest=finest)
        followed = [track.sighting.face for track in self._tracks]
        fresh = [seen for seen in sightings if not any(same(seen.face, face) for face in followed)]
        fresh = sorted(fresh, key=lambda seen: -seen.face.eyes)[: self._room()]
        pairs = [(_surprise(track, seen, seconds), track, seen) for track in self._lost for seen in fresh]
        for surprise, track, seen in sorted(pairs, key=lambda pair: pair[0]):
            if surprise < REACH and track in self._lost and any(seen is other for other in fresh):
                self._lost.remove(track)
                fresh = [other for other in fresh if other is not seen]
                track.update(seen, seconds)
                self._tracks.append(track)
        for seen in fresh:
            self._tracks.append(_Track(self._next, seen, seconds))
            self._next += 1

    def _room(self) -> int | None:
        return None if self.most is None else self.most - len(self._tracks)

    def _face(self, track: _Track, seconds: float) -> Face:
        face = track.sighting.face
        if not self.smooth:
            return replace(face, track=track.number)
        return Face(track.smooth(face.landmarks, seconds), face.score, track.number, unsmoothed=face.landmarks)


def _finite(seconds: float) -> float | None:
    """JSON has no infinity."""
    return seconds if math.isfinite(seconds) else None


def _surprise(track: _Track, sighting: Sighting, seconds: float) -> float:
    """How far a sighting is from where a track should be, in distances of the eyes; infinite if of another size."""
    size, now = size_of(track.sighting.raw), size_of(sighting.raw)
    if not 1 / GROWN < now / size < GROWN:
        return math.inf
    expected = track.sighting.raw.mean(axis=0) + track.shift(seconds)
    return float(np.hypot(*(sighting.raw.mean(axis=0) - expected))) / size


def thumbnail(image: np.ndarray) -> np.ndarray:
    """float32 [32, 32] brightness of a picture, uint8 [H, W, 3]."""
    cv2 = extras.require("cv2", "swap")
    every = max(1, min(image.shape[:2]) // (4 * THUMBNAIL))  # a sixteenth of what is averaged in the end will do
    small = cv2.resize(image[::every, ::every], (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    grey: np.ndarray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return grey


def cut(before: np.ndarray, now: np.ndarray) -> bool:
    """Whether another scene begins: thumbnails [32, 32] that differ, by more than a change of light."""
    if float(np.abs(before - now).mean()) < CUT_LEVELS:
        return False
    one, other = before - before.mean(), now - now.mean()
    # What is nearly flat is like anything; a few levels of it are noise.
    alike = float((one * other).mean() / (np.sqrt((one**2).mean() * (other**2).mean()) + CUT_LEVELS))
    return alike < CUT_LIKE
