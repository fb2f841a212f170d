"""Cameras: the newest picture counts, the others are counted; and what is no camera is told."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mfs_edge.base.errors import DeviceError, UsageError
from mfs_edge.swap import camera, video
from tests.swap.video import films


class Shots:
    """Reads as ``cv2.VideoCapture``: gives a picture whenever the test lets it."""

    def __init__(self, count: int) -> None:
        self.count, self.number, self.released = count, 0, False
        self.allowed = threading.Semaphore(0)

    def read(self) -> tuple[bool, Any]:
        self.allowed.acquire(timeout=10)
        if self.number >= self.count:
            return False, None
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[..., 0], picture[..., 2] = self.number, 200  # blue and red, as OpenCV has them
        self.number += 1
        return True, picture

    def release(self) -> None:
        self.released = True


def settled(shots: Shots, number: int) -> None:
    deadline = time.monotonic() + 10
    while shots.number < number and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.02)


def test_the_newest_picture_is_given_and_the_others_are_counted() -> None:
    shots = Shots(20)
    shots.allowed.release()
    with camera.Camera("camera:0", shots) as source:
        assert (source.width, source.height, source.live, source.frames) == (64, 48, True, None)
        frames = iter(source)
        first = next(frames)
        assert (first.index, first.seconds, first.pts) == (0, 0.0, 0)
        assert tuple(first.pixels[0, 0]) == (200, 0, 0)
        first.pixels[:] = 9
        shots.allowed.release(5)  # while the first is worked on
        settled(shots, 6)
        second = next(frames)
        assert tuple(second.pixels[0, 0]) == (200, 0, 5)
        assert second.index == 1
        assert second.seconds > 0
        assert source.dropped == 4
        shots.count = 6
        shots.allowed.release()
        with pytest.raises(DeviceError, match="camera:0: gives no picture any more"):
            next(frames)
    assert shots.released


def test_a_camera_that_gives_nothing_is_refused_and_released() -> None:
    shots = Shots(0)
    shots.allowed.release()
    with pytest.raises(DeviceError, match="gives no picture; is it plugged in"):
        camera.Camera("camera:3", shots)
    assert shots.released


def test_opencv_s_captures_are_read_and_recorded(tmp_path: Path) -> None:
    """A file in the camera's place, through the very calls; its end is that of a camera that was unplugged."""
    capture = cv2.VideoCapture(str(films.write(tmp_path / "in.mp4", frames=40)))
    said, times = list[str](), list[Any]()

    def record() -> None:
        with (
            camera.Camera("camera:0", capture) as source,
            video.create(tmp_path / "out.mp4", like=source, note=said.append, piece=5) as sink,
        ):
            for frame in source:
                sink.write(frame)
                times.append(frame.pts)

    with pytest.raises(DeviceError, match="any more"):
        record()
    left = tmp_path / "out.partial.mp4"
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", left.name}
    told = films.seen(left)
    assert [at * 90_000 for at in told.times] == times
    assert any("plays" in line and "--resume" not in line for line in said)


@pytest.mark.parametrize(
    "source", ["camera:", "camera:x", "camera:-1", "camera:99999", "camera:/etc/passwd", "camera:0x1"]
)
def test_what_says_no_camera_is_refused(source: str) -> None:
    assert camera.is_camera(source)
    with pytest.raises(UsageError, match="says no camera; write camera:0"):
        camera.open(source)


@pytest.mark.parametrize("source", ["camera:97", "camera:/dev/video97", "camera:/dev/null"])
def test_a_camera_that_is_not_there_is_one_line(source: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DeviceError, match=f"^{source}: no such camera"):
        camera.open(source)
    assert capfd.readouterr() == ("", "")
