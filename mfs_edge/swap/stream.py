"""Pictures one behind the other: what a video, a camera or a pipe gives, and what takes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np


@dataclass
class Frame:
    """One picture of a stream. Whoever changes it changes ``pixels`` and passes on the same frame."""

    index: int  # from 0
    seconds: float  # its presentation time
    pixels: np.ndarray  # uint8 [H, W, 3] RGB, upright as people see it; may be written to
    pts: int | None = None  # the same time, exactly, in the source's time base
    duration: int = 0  # in the source's time base; 0 is: until the next one
    alpha: np.ndarray | None = None  # uint8 [H, W], where the source has it (a pipe of RGBA): passed on as it is


class Source(Protocol):
    """Frames, read once from first to last."""

    width: int  # of an upright frame
    height: int
    frames: int | None  # how many there will be, where that is known
    time_base: Fraction  # seconds; what ``Frame.pts`` counts
    rate: Fraction | None  # frames per second on average, where that is known
    live: bool  # it ends when the user says so (Ctrl-C), not by itself

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


class Sink(Protocol):
    """Takes the frames of a source in their order, each once, whether it was changed or not."""

    def write(self, frame: Frame) -> None: ...

    def close(self) -> None:
        """Everything is written: what was made gets its name."""
        ...


class Memory(Protocol):
    """What remembers from frame to frame, as a tracker does, and can go on in another process.

    ``state`` is asked between two frames, and is JSON; ``restore`` makes the next frame come out as if the same
    object had seen all before it. A ``Finder`` may have both; without them it begins anew where a run is resumed.
    """

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...
