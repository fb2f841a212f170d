"""A camera's newest picture, again and again: what comes while one is worked on is dropped and counted."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import quiet
from mfs_edge.base.errors import DeviceError, UsageError
from mfs_edge.base.extras import require
from mfs_edge.swap.stream import Frame

SCHEME = "camera:"
_SILENCE = 5.0  # seconds without a picture, behind which a camera counts as gone
_TICKS = 90_000  # in a second, as in broadcasts


class Camera:
    """A :class:`~mfs_edge.swap.stream.Source` without an end; a context manager.

    Frames carry the times at which they were taken, in seconds since the first.
    """

    frames = None
    rate = None
    live = True
    time_base = Fraction(1, _TICKS)

    def __init__(self, name: str, capture: Any) -> None:
        """Start taking pictures.

        Args:
            name: for messages.
            capture: an opened ``cv2.VideoCapture``, or what reads as one; it is released in the end.

        Raises:
            DeviceError: no picture comes.
        """
        self.name, self._capture = name, capture
        self.dropped = 0  # pictures that came while another one was worked on
        self._news = threading.Condition()
        self._newest: tuple[float, np.ndarray] | None = None
        self._ended = self._closing = False
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
        self._thread.start()
        try:
            self._first = self._next(taken=0)
        except DeviceError:
            self.close()
            raise
        self.height, self.width = self._first[1].shape[:2]

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the camera go."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join(_SILENCE)
        if not self._thread.is_alive():  # to release it under a read that hangs crashes some drivers
            self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        """The newest picture each time, until Ctrl-C.

        Raises:
            DeviceError: the camera gives none any more, or of another size.
        """
        started, taken = self._first[0], self._first
        index, last = 0, -1
        while True:
            seconds = taken[0] - started
            last = max(round(seconds * _TICKS), last + 1)
            yield Frame(index, last / _TICKS, self._rgb(taken[1]), last)
            index += 1
            taken = self._next(taken=1)

    def _watch(self) -> None:
        """Read all the time, so that no driver's queue makes pictures old."""
        while not self._closing:
            good, picture = self._capture.read()
            with self._news:
                if not good:
                    self._ended = True
                    self._news.notify_all()
                    return
                self.dropped += self._newest is not None
                self._newest = time.monotonic(), picture
                self._news.notify_all()

    def _next(self, *, taken: int) -> tuple[float, np.ndarray]:
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or self._ended, _SILENCE)
            if self._newest is None:
                more = " any more" if taken else ""
                raise DeviceError(
                    f"{self.name}: gives no picture{more}; is it plugged in, free, and allowed to be used?"
                )
            newest, self._newest = self._newest, None
            return newest

    def _rgb(self, picture: np.ndarray) -> np.ndarray:
        """Of OpenCV's picture, uint8 [H, W, 3] BGR."""
        if picture.shape != (self.height, self.width, 3):
            raise DeviceError(f"{self.name}: its pictures change from {self.width} x {self.height}; start again")
        return np.ascontiguousarray(picture[..., ::-1])


def is_camera(source: str) -> bool:
    """Whether IN means a camera, not a file."""
    return source.startswith(SCHEME)


def open(source: str, *, size: tuple[int, int] | None = None) -> Camera:
    """The camera that ``camera:0`` or, on Linux, ``camera:/dev/video0`` means, through OpenCV.

    Args:
        source: as above.
        size: width and height in pixels to ask it for; it may give others.

    Raises:
        UsageError: it says no camera.
        DeviceError: there is none, or another program has it.
        MissingDependency: the extra ``swap`` is not installed.
    """
    which = _which(source)
    cv2 = require("cv2", "swap")
    with quiet.caught():  # OpenCV's own lines on a camera that is not there
        capture = cv2.VideoCapture(which)
        opened = capture.isOpened()
    if not opened:
        raise DeviceError(f"{source}: no such camera, or it is in use or not allowed; {_others()}")
    if size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    return Camera(source, capture)


def _which(source: str) -> int | str:
    told = source.removeprefix(SCHEME)
    if told.isascii() and told.isdecimal() and len(told) < 4:
        return int(told)
    if sys.platform == "linux" and told.startswith("/dev/"):
        return told
    raise UsageError(f"{source}: says no camera; write camera:0 for the first, camera:1 for the second")


def _others() -> str:
    """Which cameras there are, where the system's files tell."""
    if sys.platform != "linux":
        return "try camera:0 or camera:1"
    there = sorted(path.name.removeprefix("video") for path in Path("/dev").glob("video[0-9]*"))
    return f"there are {', '.join(SCHEME + number for number in there)}" if there else "this machine has none"
