"""The ends of a whole frame in the runner: it comes out of a video, its face is found, and it goes into another video.

It travels to a device beside ``whole.py`` and stands alone: numpy, Python 3.9. What decodes, finds and encodes are
the very files of ``mfs-edge swap``, which travel in the folder ``whole``; they need PyAV, OpenCV and LiteRT.

The video is made there, with the encoder that ``swap`` writes files with and as it is set: the drawn frame of
``whole.py``, seen by a camera that moves a little and has its noise. What is timed is the steady state:

* decode is the wait for the next frame, in RGB. The decoder's threads work ahead meanwhile, as they do in ``swap``.
* detect is the tracker's time. The first frame is searched before anything is timed; from then on the face is followed.
* encode is the time until the encoder has taken the frame, from RGB on. Its threads go on meanwhile, too.

Not in any stage: opening the video and its first ``AHEAD`` frames, which are decoded and encoded beforehand, so that
both codecs are as full as they stay. So the end of a piece is left out, which ``swap`` has every 60 frames: there
the encoder gives what it holds back, and what that takes the first frames of the next piece save.
"""

from __future__ import annotations

import errno
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

BEFORE, BEHIND = ("decode", "detect"), ("encode",)
AV = "av>=18.1,<19"  # as the extra "video" has it
AV_FROM, AV_BELOW, AV_PYTHON = (18, 1), (19,), (3, 11)
DETECTOR, MESH = "detector.tflite", "mesh.tflite"
# What travels in addition to whole.TRAVELLERS.
TRAVELLERS = (
    *("base/files.py", "base/quiet.py"),
    *(f"face/{name}.py" for name in ("blaze", "dense", "detect", "found", "landmarks", "likeness", "likeness_weights")),
    *(f"face/{name}.py" for name in ("mesh", "network", "smooth", "track")),
    "swap/stream.py",
    *(f"swap/video/{name}.py" for name in ("colour", "encoders", "reader", "turn", "whole")),
)
RATE = 30  # frames per second of the video
AHEAD = 16  # frames; a decoder has at most 16 threads, one frame in each, and the encoder holds 5 back
LAP = 44  # frames that are timed of each pass through the video; with those ahead a piece of swap's
NOISE, GRAIN = 3, 64  # levels of a camera's noise, and pixels by which its pattern is moved
NEAR = 0.5  # of the eyes' distance, between a face that was found and the one that is drawn

Failure = Callable[[str, str], Exception]  # the runner's: a kind and a message


class Camera:
    """The drawn frame as a camera sees it that a hand holds: it goes round in a small circle, once in a lap."""

    def __init__(self, scene: tuple[np.ndarray, np.ndarray], margin: int) -> None:
        """Take a frame, uint8 [H + 2 margin, W + 2 margin, 3] RGB, and its landmarks, float64 [5, 2] px."""
        self.around, self.points = scene
        self.margin = margin
        height, width = (side - 2 * margin for side in self.around.shape[:2])
        self.height, self.width = height, width
        size = (height + GRAIN, width + GRAIN, 3)
        self.noise = np.random.default_rng(0).integers(-NOISE, NOISE + 1, size, dtype=np.int8)

    def frame(self, index: int) -> np.ndarray:
        """Frame number ``index``: uint8 [H, W, 3] RGB."""
        import cv2

        across, down = self._at(index)
        seen = self.around[down : down + self.height, across : across + self.width]
        left, top = np.random.default_rng(index).integers(0, GRAIN, 2)
        noise = self.noise[top : top + self.height, left : left + self.width]
        noisy: np.ndarray = cv2.add(seen, noise, dtype=cv2.CV_8U)
        return noisy

    def landmarks(self, index: int) -> np.ndarray:
        """Where the face is drawn in frame number ``index``: float64 [5, 2], pixels x, y."""
        at: np.ndarray = self.points - self._at(index)
        return at

    def _at(self, index: int) -> np.ndarray:
        turn = 2 * np.pi * index / LAP
        return np.rint(self.margin * (1 + np.array([np.cos(turn), np.sin(turn)]))).astype(int)


class Counted:
    """A detector, and how often it searched a whole picture: a tracker lets it where there is no face to follow."""

    def __init__(self, detector: Any) -> None:
        self.detector, self.searches = detector, 0

    def sightings(self, image: np.ndarray, **how: Any) -> Any:
        """The faces of a picture, uint8 [H, W, 3] RGB."""
        self.searches += 1
        return self.detector.sightings(image, **how)

    def follow(self, image: np.ndarray, region: Any) -> Any:
        """The face near a region of a picture, uint8 [H, W, 3] RGB; None if there is none."""
        return self.detector.follow(image, region)


class Film:
    """Frames of a video, each with the landmarks of the face that was found in it; what takes them encodes them.

    The landmarks are those that were found, not those that are known: it is what ``swap`` aligns by. The known ones
    tell whether it is the drawn face that was found.
    """

    def __init__(self, camera: Camera, clip: Path, detector: Any, failure: Failure) -> None:
        """Write the video to ``clip``; the parts of ``swap`` must be importable by then.

        Raises:
            Failure: of the kind "full" or "device", where it cannot be written.
        """
        names = ("swap.video.encoders", "swap.video.reader", "face.track")
        self._encoders, self._readers, track = (importlib.import_module(f"mfs_edge.{name}") for name in names)
        self._camera, self._clip, self._failure = camera, clip, failure
        self._detector = Counted(detector)
        self._track = track.Tracker(self._detector, most=1)  # as for the largest face
        self._reader: Any = None  # between laps there is neither
        self._piece: Any = None
        self._frame: Any = None  # the last one
        self._frames: Iterator[Any] = iter(())
        self._left = 0  # frames of this lap
        self.original = self.pixels = np.zeros((camera.height, camera.width, 3), np.uint8)
        self.searched: list[bool] = []  # of every frame, whether its whole picture was
        self._write()

    def stages(self, swap: tuple[str, ...]) -> tuple[str, ...]:
        """All stages, around those of the swap."""
        return (*BEFORE, *swap, *BEHIND)

    def told(self, count: int) -> dict[str, Any]:
        """Of the last frames, in how many the whole picture was searched; in the others the face was followed."""
        return {"searched": sum(self.searched[-count:])}

    def next(self) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
        """The next frame, uint8 [H, W, 3] RGB, its landmarks, float64 [5, 2] px, and the milliseconds of each stage.

        Raises:
            Failure: the detector does not find the face in it.
        """
        if not self._left:
            self._begin()
        self._left -= 1
        decode, frame = timed(lambda: next(self._frames))
        self.original = frame.pixels.copy()
        before, number = self._detector.searches, len(self.searched)
        detect, faces = timed(lambda: self._track(frame.pixels, number / RATE))
        self.searched.append(self._detector.searches > before)
        self._frame, self.pixels = frame, frame.pixels
        return frame.pixels, self._found(faces, frame.index), {"decode": decode, "detect": detect}

    def take(self) -> dict[str, float]:
        """The frame has been swapped: encode it; milliseconds of each stage."""
        return {"encode": timed(lambda: self._put(self._frame))[0]}

    def _found(self, faces: list[Any], index: int) -> np.ndarray:
        """The landmarks of the drawn face: a time in which it was not found would be none of finding it."""
        drawn = self._camera.landmarks(index)
        eyes = float(np.hypot(*(drawn[1] - drawn[0])))
        for face in faces:
            if float(np.hypot(*(face.landmarks - drawn).T).mean()) < NEAR * eyes:
                return np.ascontiguousarray(face.landmarks, np.float64)
        size = f"{self._camera.width}x{self._camera.height}"
        raise self._failure(
            "usage",
            f"the detector does not find the face in a frame of {size}, so that detect has no time; take larger or "
            "squarer frames, or --stages swap",
        )

    def _begin(self) -> None:
        """Another pass through the video, up to where both codecs are as full as they stay."""
        self.close()
        self._reader = self._readers.Reader(self._clip, note=lambda line: None)
        self._piece = self._opened(self._encoders.alike(self._reader.facts, self._reader.rate))
        self._frames, self._left = iter(self._reader), LAP
        for _ in range(AHEAD):
            self._put(next(self._frames))

    def close(self) -> None:
        """Both codecs' threads end."""
        if self._reader is not None:
            self._reader.close()
        if self._piece is not None:
            self._piece.finished()
        self._reader = self._piece = None

    def _put(self, frame: Any) -> None:
        self._piece.write(frame, frame.pts)

    def _opened(self, look: Any) -> Any:
        encoder = self._encoders.H264
        return self._encoders.Piece(encoder, look, length=self._encoders.PIECE, crf=encoder.crf)

    def _write(self) -> None:
        """As many frames behind the lap as ahead of it: a decoder at its end has no more to work ahead on."""
        stream = importlib.import_module("mfs_edge.swap.stream")
        camera, base = self._camera, Fraction(1, RATE)
        piece = self._opened(self._encoders.plain(camera.width, camera.height, base, Fraction(RATE)))
        for index in range(AHEAD + LAP + AHEAD):
            piece.write(stream.Frame(index, index / RATE, camera.frame(index)), index)
        try:
            self._clip.write_bytes(piece.finished())
        except OSError as error:
            kind = "full" if error.errno in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT) else "device"
            raise self._failure(kind, error.strerror or str(error)) from error


def film(whole: Any, image: np.ndarray, width: int, height: int, *, litert: Any, failure: Failure) -> Film:
    """The video, in this file's folder, where the models are, too.

    Args:
        whole: the module ``whole.py``.
        image: float32 [1, 3, S, S] RGB in 0..1, the face that is drawn.
        width, height: of the frames, in pixels.
        litert: the engine of LiteRT.
        failure: what to raise: of the kind "missing" without a module, "usage" where the face is not found.
    """
    require(whole.OPENCV, failure)
    folder = Path(__file__).parent
    sys.path.insert(0, str(folder / whole.FOLDER))
    network, detect = (importlib.import_module(f"mfs_edge.face.{name}") for name in ("network", "detect"))
    try:
        opened = [network.Network(litert(str(folder / name), network.THREADS)) for name in (DETECTOR, MESH)]
    except ImportError as error:
        raise failure("missing", _missing("LiteRT", error, "detect", litert.PACKAGE)) from error
    margin = max(4, min(width, height) // 50)
    camera = Camera(whole.scene(image, width + 2 * margin, height + 2 * margin), margin)
    return Film(camera, folder / "film.mp4", detect.Detector(networks=tuple(opened)), failure)


def require(opencv: str, failure: Failure) -> None:
    """Whether OpenCV, whose package is ``opencv``, and PyAV are here, and PyAV is one that is known."""
    if sys.version_info[:2] < AV_PYTHON:
        here, needed = (".".join(map(str, version)) for version in (sys.version_info[:2], AV_PYTHON))
        raise failure("missing", f"--stages all needs Python {needed}, this one is {here}; name another with --python")
    for module, stage, package in (("cv2", "detect", opencv), ("av", "decode and encode", AV)):
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            raise failure("missing", _missing(module, error, stage, package)) from error
    version = tuple(int(part) for part in found.__version__.split(".")[:2])
    if not AV_FROM <= version < AV_BELOW:
        raise failure("missing", f"decode and encode need another av than {found.__version__}: pip install '{AV}'")


def _missing(what: str, error: ImportError, stage: str, package: str) -> str:
    return f"{what}, for {stage}, cannot be imported ({error}); install it with: pip install '{package}'"


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds, and what came of it."""
    before = time.perf_counter_ns()
    found = call()
    return (time.perf_counter_ns() - before) / 1e6, found
