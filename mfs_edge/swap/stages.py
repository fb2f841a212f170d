"""Where the time of a frame goes: what ``--profile`` shows."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

DECODE, DETECT, ALIGN, NETWORK, PASTE, ENCODE = ORDER = ("decode", "detect", "align", "network", "paste", "encode")


@dataclass(frozen=True)
class Stage:
    """One stage, over all frames."""

    stage: str
    ms: float  # per frame
    share: float  # 0..1 of all stages


class Stages:
    """Adds up the time of each stage."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(ORDER, 0.0)
        self.frames = 0

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """What happens inside belongs to ``stage``, one of ``ORDER``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - started

    def add(self, milliseconds: Mapping[str, float]) -> None:
        """What was timed elsewhere, by stage."""
        for stage, spent in milliseconds.items():
            self.seconds[stage] += spent / 1000

    def merge(self, other: Stages) -> None:
        """The frames of ``other``, too."""
        self.frames += other.frames
        for stage, seconds in other.seconds.items():
            self.seconds[stage] += seconds

    @property
    def rows(self) -> tuple[Stage, ...]:
        """Every stage, in the order in which a frame passes them."""
        total = sum(self.seconds.values()) or 1.0
        frames = max(1, self.frames)
        return tuple(Stage(stage, 1000 * self.seconds[stage] / frames, self.seconds[stage] / total) for stage in ORDER)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``: frames, and ``stage``, ``ms`` and ``share`` of each."""
        return {"frames": self.frames, "stages": [asdict(row) for row in self.rows]}
