"""Pictures one behind the other: what a video, a camera or a pipe gives, and what takes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass
class Frame:
    """One picture of a stream."""

    index: int  # from 0
    seconds: float  # its presentation time
    pixels: np.ndarray  # uint8 [H, W, 3] RGB, upright as people see it; may be written to


class Source(Protocol):
    """Frames, read once from first to last."""

    width: int  # of an upright frame
    height: int
    frames: int | None  # how many there will be, where that is known

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


class Sink(Protocol):
    """Takes the frames of a source in their order, each once, whether it was changed or not."""

    def write(self, frame: Frame) -> None: ...

    def close(self) -> None:
        """Everything is written: what was made gets its name."""
        ...
