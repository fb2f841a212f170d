"""What every side-by-side run needs: one network, fair timing, one table.

Contenders are timed in turns, in an order that rotates, so that a busy or throttling machine
slows all of them alike; a ratio is the median over turns of the ratio within a turn. The
processor time beside the wall clock tells what a contender takes when others want the
machine too.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Timing:
    """Milliseconds per run."""

    median: float
    low: float  # first quartile
    high: float  # third quartile
    best: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}..{self.high:.2f})"


@dataclass(frozen=True)
class Race:
    """Milliseconds per turn for each contender, in the same turns: [turns, 2], wall and processor."""

    turns: Mapping[str, np.ndarray]

    def timing(self, name: str) -> Timing:
        """By the wall clock."""
        wall = self.turns[name][:, 0]
        low, median, high = (float(value) for value in np.percentile(wall, (25, 50, 75)))
        return Timing(median, low, high, float(wall.min()))

    def processor(self, name: str) -> float:
        """Median processor milliseconds, over all threads."""
        return float(np.median(self.turns[name][:, 1]))

    def ratio(self, slower: str, faster: str) -> tuple[float, float]:
        """How many times as fast ``faster`` is, by the wall clock and in processor time."""
        wall, processor = np.median(self.turns[slower] / self.turns[faster], axis=0)
        return float(wall), float(processor)


def race(contenders: Mapping[str, Callable[[], object]], *, runs: int, warmup: int) -> Race:
    """Time the contenders in turns.

    Args:
        contenders: what to call, by name.
        runs: turns that count.
        warmup: turns that do not.
    """
    names = list(contenders)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(warmup + runs):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            wall, processor = time.perf_counter(), time.process_time()
            contenders[name]()
            taken[name].append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)))
    return Race({name: np.array(found[warmup:]) for name, found in taken.items()})


def demo_weights(identity: int = 0) -> Arrays:
    """The embedded demo's network of one identity, folded, under the IDN's official keys."""
    from mfs_edge.fold import fold
    from mfs_edge.sample import weights

    return fold(weights.checkpoint("iin"), weights.identity(identity)).weights()


def frame(size: int) -> np.ndarray:
    """A drawn face, float32 [1, 3, size, size] in 0..1."""
    from mfs_edge import sample
    from mfs_edge.base import images

    return images.to_nchw(images.resize(sample.target(0), size))


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of the same keys as a table."""
    table = Table(title=title, caption=f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}")
    for key in rows[0]:
        table.add_column(key, justify="left" if isinstance(rows[0][key], str) else "right", overflow="fold")
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=160).print(table)


def save(path: Path, results: Mapping[str, Any]) -> None:
    """Write results as JSON, with the machine they are from."""
    machine = {"machine": platform.machine(), "system": platform.platform(), "python": platform.python_version()}
    path.write_text(json.dumps({"host": machine, **results}, indent=2) + "\n")
