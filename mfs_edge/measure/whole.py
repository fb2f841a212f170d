"""Whole frames in the runner: a picture with a face in it, swapped over and over, stage by stage.

It travels to a device beside ``runner.py`` and stands alone: numpy, Python 3.9. An engine that does the whole frame
itself (``swap_frame``) is asked to. The others' frames are cut and pasted by the very files that ``mfs-edge swap``
uses: they travel in the folder ``whole``, and need OpenCV.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

STAGES = ("align", "network", "paste")
OPENCV = "opencv-python-headless"
FOLDER = "whole"
# What Python files need of the package on a device, by their path in it; the packages' own __init__ stay at home.
TRAVELLERS = (
    *("base/errors.py", "base/extras.py", "base/frames.py", "base/printable.py", "base/reasons.py"),
    *("face/align.py", "face/paste.py", "swap/crops.py"),
)
PART = 0.5  # of the frame's shorter side: the crop's side in it
TURN = np.deg2rad(10)
EYES_TO_MOUTH = np.array(  # of a 112 px crop, as of mfs_edge.face.align
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)

Swap = Callable[[Any, Any], "dict[str, float]"]


class Missing(Exception):
    """A module that is not here; says what to install."""


def scene(image: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame with one face in its middle, and where its landmarks are.

    Args:
        image: float32 [1, 3, S, S] RGB in 0..1, the aligned crop that is drawn there.
        width, height: of the frame, in pixels.

    Returns:
        uint8 [height, width, 3] RGB, and float64 [5, 2], pixels x, y.
    """
    size = image.shape[2]
    rows, columns = np.mgrid[0:height, 0:width]
    frame = np.stack([columns * 255 // width, rows * 255 // height, 0 * rows + 128], axis=-1).astype(np.uint8)
    grown = PART * min(width, height) / size
    turn = grown * np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])
    middle = np.array([width, height]) / 2
    landmarks = (EYES_TO_MOUTH * size / 112 - size / 2) @ turn.T + middle
    back = np.linalg.inv(turn)
    x = np.rint(back[0, 0] * (columns - middle[0]) + back[0, 1] * (rows - middle[1]) + size / 2).astype(int)
    y = np.rint(back[1, 0] * (columns - middle[0]) + back[1, 1] * (rows - middle[1]) + size / 2).astype(int)
    inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    pixels = np.rint(image[0].transpose(1, 2, 0) * 255).astype(np.uint8)
    frame[inside] = pixels[y[inside], x[inside]]
    return frame, landmarks


class Still:
    """The same frame over and over, with landmarks that are known; nothing is timed of it."""

    def __init__(self, image: np.ndarray, width: int, height: int) -> None:
        """Draw it: ``image`` is float32 [1, 3, S, S] RGB in 0..1, width and height are pixels."""
        self.original, self.landmarks = scene(image, width, height)
        self.pixels = self.original.copy()

    def stages(self, swap: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the swap."""
        return swap

    def told(self, count: int) -> dict[str, Any]:
        """Nothing, of any number of frames."""
        return {}

    def next(self) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
        """uint8 [H, W, 3] RGB and float64 [5, 2] px; a camera's next frame is no part of any stage."""
        np.copyto(self.pixels, self.original)
        return self.pixels, self.landmarks, {}

    def take(self) -> dict[str, float]:
        """The frame has been swapped, and goes nowhere."""
        return {}


class Frames:
    """Frames of a source, each swapped in place by a call; ``times`` are milliseconds per stage, of each call."""

    def __init__(self, swap: Swap, source: Any) -> None:
        """Take what swaps, and a :class:`Still` or what is like it: ``Film`` in ``ends.py``."""
        self.swap, self.source = swap, source
        self.times: list[dict[str, float]] = []

    def __call__(self) -> None:
        pixels, landmarks, before = self.source.next()
        swapped = self.swap(pixels, landmarks)
        self.times.append({**before, **swapped, **self.source.take()})

    def found(self, count: int) -> dict[str, Any]:
        """Of the last calls: what is told of whole frames beside the milliseconds of all stages together."""
        return {"stages_ms": self.stages(count), "changed": self.changed(), **self.source.told(count)}

    def changed(self) -> int:
        """Pixels of the frame that the last call changed; 0 where the mask shows nothing of the face."""
        return int((self.source.pixels != self.source.original).any(axis=2).sum())

    def samples(self, count: int) -> list[float]:
        """Of the last calls, the milliseconds of all stages together."""
        return [sum(times.values()) for times in self.times[-count:]]

    def stages(self, count: int) -> dict[str, list[float]]:
        """Of the last calls, the milliseconds of each stage."""
        return {stage: [times[stage] for times in self.times[-count:]] for stage in self.source.stages(STAGES)}


def swapper(engine: Any, path: str) -> Swap:
    """What swaps frames with a loaded engine of the artefact at ``path``: itself, where it can.

    Raises:
        Missing: OpenCV is needed and is not here.
    """
    found: Swap = engine.swap_frame if hasattr(engine, "swap_frame") else Composed(engine, path)
    return found


class Composed:
    """A frame by an engine of crops, as ``mfs-edge swap`` does it."""

    def __init__(self, engine: Any, path: str) -> None:
        try:
            importlib.import_module("cv2")
        except ImportError as error:
            raise Missing(
                f"cv2 cannot be imported ({error}), and whole frames of {engine.title} need it; "
                f"install it with: pip install {OPENCV}"
            ) from error
        sys.path.insert(0, str(Path(__file__).with_name(FOLDER)))
        self.align, self.paste = (importlib.import_module(f"mfs_edge.face.{name}") for name in ("align", "paste"))
        self.crops = importlib.import_module("mfs_edge.swap.crops").Crops(engine, Path(path))

    def __call__(self, pixels: np.ndarray, landmarks: np.ndarray) -> dict[str, float]:
        """Swap the face at ``landmarks``, float64 [5, 2] in px, in ``pixels``, uint8 [H, W, 3]; ms of each stage."""
        marks = [time.perf_counter()]
        matrix = self.align.affine(landmarks, self.crops.size)
        self.crops.feed(self.align.cut(pixels, matrix, self.crops.size))
        marks.append(time.perf_counter())
        self.crops.infer()
        marks.append(time.perf_counter())
        face, mask = self.crops.fetch()
        self.paste.paste(pixels, face, mask, matrix)
        marks.append(time.perf_counter())
        return {stage: 1000 * (marks[i + 1] - marks[i]) for i, stage in enumerate(STAGES)}
