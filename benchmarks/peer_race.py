"""Contenders timed in turns, in an order that rotates: a busy or throttling machine slows all of them alike.

A ratio is the median over turns of the ratio within a turn. The processor time beside the wall
clock tells what a contender takes when others want the machine too.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer_environments import last_line

SCRIPT = Path(__file__).parent / "peer_child.py"
BURST = 3
SPIN_S = 0.005  # a pool of threads may spin for a while, on the core that the next contender needs
# Wall and processor milliseconds of a frame; None from a contender that has died.
Turn = Callable[[], tuple[float, float] | None]


@dataclass(frozen=True)
class Race:
    """Milliseconds per turn for each contender, in the same turns: [turns, 2], wall and processor."""

    turns: Mapping[str, np.ndarray]

    def quartiles(self, name: str) -> tuple[float, float, float]:
        """By the wall clock, the median in the middle."""
        low, median, high = np.percentile(self.turns[name][:, 0], (25, 50, 75)).tolist()
        return low, median, high

    def ratio(self, name: str, against: str) -> tuple[float, float]:
        """Times of ``name`` in units of the other's, by the wall clock and in processor time."""
        wall, processor = np.median(self.turns[name] / self.turns[against], axis=0).tolist()
        return wall, processor

    def spread(self, name: str, against: str) -> tuple[float, float]:
        """Quartiles of that ratio over turns, by the wall clock."""
        low, high = np.percentile(self.turns[name][:, 0] / self.turns[against][:, 0], (25, 75)).tolist()
        return low, high


def race(contenders: Mapping[str, Turn], *, turns: int, warmup: int) -> Race:
    """Time the contenders in ``turns`` that count, after some that do not; who dies on the way is left out."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for turn in range(warmup + turns):
        names = list(taken)
        first = turn % max(len(names), 1)
        for name in names[first:] + names[:first]:
            time.sleep(SPIN_S)
            found = contenders[name]()
            if found is None:
                del taken[name]
            else:
                taken[name].append(found)
    return Race({name: np.array(found[warmup:]) for name, found in taken.items()})


class Child:
    """A contender in a process of its own; ``reason`` says why it does not run.

    Attributes:
        said: what runs it, and its delegate's coverage.
        outputs: of each of the pictures in ``folder``/images.npy: "swapped" and "mask".
    """

    def __init__(self, runtime: str, python: str, model: Path, folder: Path, threads: int, **variables: str) -> None:
        out = folder / "outputs.npz"
        given = [runtime, str(model), str(folder / "images.npy"), str(threads), str(out)]
        self.log = (folder / "child.log").open("w+")
        self.process = subprocess.Popen(
            [python, str(SCRIPT), *given], env={**os.environ, **variables},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )  # fmt: skip
        self.said: dict[str, Any] = self._answer() or {}
        self.outputs: list[dict[str, np.ndarray]] = []
        self.reason = ""
        if self.said:
            with np.load(out) as stored:
                self.outputs = [dict(zip(stored, each, strict=True)) for each in zip(*stored.values(), strict=True)]
            return
        code = self.process.wait()
        self.log.seek(0)
        self.reason = f"failed: {last_line(self.log.read()) or f'ended with exit code {code}'}"

    def burst(self) -> tuple[float, float] | None:
        """Medians over a few frames; None, and a reason, if the process has died."""
        try:
            print(BURST, file=self.process.stdin, flush=True)
            taken = self._answer()
        except BrokenPipeError:
            taken = None
        if taken is None:
            self.reason = f"failed: died while it was timed (exit code {self.process.wait()})"
            return None
        wall, processor = np.median(np.array(taken), axis=0).tolist()
        return wall, processor

    def _answer(self) -> Any:
        line = self.process.stdout.readline() if self.process.stdout else ""
        return json.loads(line) if line.strip() else None

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()
