"""What ``peers.py all`` found: typed, strict, and drawn."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mfs_edge.base.errors import InputError


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Timed(_Record):
    """One contender at one thread count."""

    threads: int
    median_ms: float
    low_ms: float  # first quartile
    high_ms: float  # third quartile
    against: str  # the contender of ours that it is held against
    ratio: float  # its time in units of that one's: over 1 is slower than ours
    ratio_low: float  # quartiles of the ratio over turns
    ratio_high: float


class Row(_Record):
    """One contender."""

    contender: str
    ours: bool
    runtime: str  # and its version
    status: Literal["ok", "wrong", "failed"]
    reason: str = ""  # why it is not ok
    conversion_s: float | None = None
    bytes: int | None = None
    max_difference: float | None = None  # of the swapped picture from the plain network's
    timed: tuple[Timed, ...] = ()  # empty where nothing can run it here


class Machine(_Record):
    """Where it ran."""

    cpu: str
    cores: int
    system: str
    python: str


class Results(_Record):
    """One run of all of them, in turns."""

    schema_version: Literal[1] = 1
    network: str
    size: int
    machine: Machine
    rows: tuple[Row, ...]


def load(path: Path) -> Results:
    """Results that were written earlier.

    Raises:
        InputError: damaged, or of another version.
    """
    try:
        return Results.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}; run peers.py all again"
        ) from error


def this_machine() -> Machine:

    from mfs_edge.measure.runner import cpu_model

    return Machine(
        cpu=cpu_model(), cores=os.cpu_count() or 1, system=platform.system(), python=platform.python_version()
    )


COLUMNS = (
    "converted by",
    "runtime",
    "status",
    "conversion s",
    "MB",
    "1 thread, ms",
    "of ours",
    "2 threads, ms",
    "of ours ",
)


def cells(results: Results) -> list[tuple[str, ...]]:
    """The table's rows."""
    return [_cells(row) for row in results.rows]


def _cells(row: Row) -> tuple[str, ...]:
    seconds = "-" if row.conversion_s is None else f"{row.conversion_s:.2f}"
    size = "-" if row.bytes is None else f"{row.bytes / 1e6:.2f}"
    timings: list[str] = []
    for count in (1, 2):
        found = next((timed for timed in row.timed if timed.threads == count), None)
        timings += ["-", "-"] if found is None else [f"{found.median_ms:.2f}", f"{found.ratio:.2f}"]
    status = row.status if not row.reason else f"{row.status}: {row.reason}"
    return (row.contender, row.runtime, status, seconds, size, *timings)


def markdown(results: Results) -> str:
    """For the README."""
    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *cells(results)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    machine = results.machine
    return (
        f"{table}\n\n{results.network}, {results.size} px, float32; {machine.cpu}, {machine.cores} cores, "
        f'{machine.system}. Medians of bursts in turns; "of ours" is the time in units of our file\'s on the same '
        "runtime, or of our fastest where we write nothing for it.\n"
    )


def draw(results: Results, path: Path) -> None:
    """Milliseconds at one thread, ours in colour."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    timed = [(row, row.timed[0]) for row in results.rows if row.timed]
    timed.sort(key=lambda pair: -pair[1].median_ms)
    figure, axes = pyplot.subplots(figsize=(7.2, 0.42 * len(timed) + 1))
    names = [f"{row.contender}, {row.runtime.split()[0]}" for row, _ in timed]
    values = [found.median_ms for _, found in timed]
    spread = _spread(found for _, found in timed)
    bars = axes.barh(names, values, xerr=spread, color=["#1f6f8b" if row.ours else "#b8b8b8" for row, _ in timed])
    axes.bar_label(bars, fmt="%.1f", padding=4)
    axes.set_xlabel(f"ms per frame, one thread, {results.size} px, float32 ({results.machine.cpu})")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def _spread(found: Iterable[Timed]) -> Sequence[Sequence[float]]:
    """Down to the first quartile, up to the third."""
    pairs = [(one.median_ms - one.low_ms, one.high_ms - one.median_ms) for one in found]
    return [[pair[0] for pair in pairs], [pair[1] for pair in pairs]]
