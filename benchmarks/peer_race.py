"""Contenders in processes of their own, timed in turns."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SCRIPT = Path(__file__).parent / "peer_child.py"
BURST, WARM_UP = 3, 5


class Child:
    """A contender, loaded in a process of its own."""

    def __init__(self, runtime: str, python: str, model: Path, folder: Path, threads: int) -> None:
        self.runtime, self.reason = runtime, ""
        self.out = folder / "out.npy"
        self.out.unlink(missing_ok=True)
        given = [runtime, str(model), str(folder / "image.npy"), str(threads), str(self.out)]
        self.log = (folder / "child.log").open("w+")
        self.process = subprocess.Popen(
            [python, str(SCRIPT), *given],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )  # fmt: skip
        first = self._answer()
        if first is None:
            code = self.process.wait()
            self.log.seek(0)
            self.reason = last_line(self.log.read()) or f"ended with exit code {code}"
        else:
            self.runtime = first["runtime"]

    def burst(self) -> float | None:
        """Median milliseconds of a few frames; None, and a reason, if the process has died."""
        try:
            print(BURST, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            taken = None
        else:
            taken = self._answer()
        if taken is None:
            self.reason = f"died while it was timed (exit code {self.process.wait()})"
            return None
        return float(np.median(np.array(taken)))

    def _answer(self) -> Any:
        line = self.process.stdout.readline() if self.process.stdout else ""
        return json.loads(line) if line.strip() else None

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


def race(children: Mapping[str, Child], turns: int) -> dict[str, np.ndarray]:
    """Milliseconds per turn, in an order that rotates; whoever dies on the way is left out."""
    taken: dict[str, list[float]] = {name: [] for name in children}
    for turn in range(WARM_UP + turns):
        names = list(taken)
        first = turn % max(len(names), 1)
        for name in names[first:] + names[:first]:
            found = children[name].burst()
            if found is None:
                del taken[name]
            else:
                taken[name].append(found)
    return {name: np.array(found[WARM_UP:]) for name, found in taken.items()}


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
