"""Whether integers are any faster than float32 on the runtime at hand.

They are smaller everywhere, but not every runtime has kernels that make them faster, and nobody
should ship the slower file without knowing.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from mfs_edge.base.fidelity import Swapper
from mfs_edge.base.progress import Steps
from mfs_edge.bundle.manifest import Artefact
from mfs_edge.precisions import INTEGER, Graphs
from mfs_edge.target import EmitOptions, Target

WARM_UP, PAIRS = 4, 15


def remark(artefact: Artefact, target: Target, graphs: Graphs, stage: Path, steps: Steps) -> None:
    """Tell ``steps`` if ``artefact`` is quantised, runs here, and is slower than the same network in float32."""
    if artefact.precision not in INTEGER or target.unrunnable() is not None:
        return
    beside = stage / "pace"
    beside.mkdir()
    float_file = beside / f"fp32{target.suffix}"
    with steps.step(f"time {artefact.file} against fp32"):
        target.emit(graphs.fp32, float_file, EmitOptions(io=artefact.io))
        image = np.full((1, 3, graphs.size, graphs.size), 0.5, np.float32)
        ratio = compare(target.load(float_file, threads=1), target.load(stage / artefact.file, threads=1), image)
    for member in beside.iterdir():
        member.unlink()
    beside.rmdir()
    if ratio < 1:
        steps.note(
            f"{artefact.file}: on this machine {target.title} runs {artefact.precision} at {ratio:.2f} times the speed "
            f"of fp32 (one thread, median of {PAIRS} pairs); for speed use fp32 here, and measure your device with "
            "mfs-edge bench"
        )


def compare(slower: Swapper, faster: Swapper, image: np.ndarray) -> float:
    """How many times as fast ``faster`` is: the median over runs in turns."""
    ratios = []
    for turn in range(WARM_UP + PAIRS):
        first, second = (slower, faster) if turn % 2 else (faster, slower)
        taken = {runner: _seconds(runner, image) for runner in (first, second)}
        ratios.append(taken[slower] / taken[faster])
    return float(np.median(ratios[WARM_UP:]))


def _seconds(runner: Swapper, image: np.ndarray) -> float:
    begin = time.perf_counter()
    runner.run(image)
    return time.perf_counter() - begin
