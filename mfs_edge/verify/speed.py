"""Whether integers are any faster than float32 on the runtime at hand.

They are smaller everywhere, but not every runtime has kernels that make them faster, and nobody
should ship the slower file without knowing.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mfs_edge.base.fidelity import Swapper
from mfs_edge.base.progress import Steps
from mfs_edge.bundle.manifest import ArtefactRecord
from mfs_edge.precisions import INTEGER
from mfs_edge.target import EmitOptions, Target

if TYPE_CHECKING:
    import onnx_ir as ir

WARM_UP, PAIRS = 4, 15


def remark(
    artefact: ArtefactRecord, target: Target, options: EmitOptions, fp32: ir.Model, stage: Path, *, steps: Steps
) -> None:
    """Tell ``steps`` if ``artefact`` is quantised, runs here, and is slower than the same network in float32.

    Args:
        artefact: what was written into ``stage``.
        target: that wrote it.
        options: that it was written with.
        fp32: the graph that was quantised.
        stage: the folder that holds it; as it was afterwards.
        steps: told of it.
    """
    if artefact.precision not in INTEGER or target.unrunnable() is not None:
        return
    image = np.full((1, 3, artefact.size, artefact.size), 0.5, np.float32)
    with steps.step(f"time {artefact.file} against fp32"), tempfile.TemporaryDirectory(dir=stage) as beside:
        float_file = Path(beside) / f"fp32{target.suffix}"
        target.emit(fp32, float_file, replace(options, precision="fp32"))
        ratio = compare(target.load(float_file, threads=1), target.load(stage / artefact.file, threads=1), image)
    if ratio < 1:
        steps.note(
            f"{artefact.file}: on this machine {target.title} runs {artefact.precision} at {ratio:.2f} times the speed "
            f"of fp32 (one thread, median of {PAIRS} pairs); for speed use fp32 here, and measure your device with "
            "mfs-edge bench"
        )


def compare(slower: Swapper, faster: Swapper, image: np.ndarray) -> float:
    """How many times as fast ``faster`` is on ``image`` [1, 3, S, S] in 0..1: the median over runs in turns."""
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
