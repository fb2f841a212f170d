"""How long compiling takes: ``python benchmarks/compile_time.py``.

Three figures: fold + graph + passes + write in a process that has imported torch and read the
checkpoint (median and spread of many runs); the whole command for the targets that have runtimes as a
user starts it, imports and verification included; and the same for C, which is compiled first, and the next time
taken from the cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from mfs_edge import target
from mfs_edge.fold import fold
from mfs_edge.graph import build, passes
from mfs_edge.load import identity as identities
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.sample import weights
from mfs_edge.target import EmitOptions

RUNTIMES = ("coreml", "onnx", "openvino", "tflite")


@click.command()
@click.option("--runs", default=10, show_default=True)
def main(runs: int) -> None:
    """Time the compiler on the embedded demo."""
    checkpoint = weights.checkpoint("iin")
    person = weights.identity(0)
    with tempfile.TemporaryDirectory() as folder:
        seconds = [_once(checkpoint, person, Path(folder)) for _ in range(runs + 1)]
        click.echo(f"first run: {seconds[0]:.3f} s")
        low, median, high = np.percentile(seconds[1:], (25, 50, 75))
        click.echo(f"fold + graph + passes + write .onnx: {median:.3f} s ({low:.3f}..{high:.3f}), {runs} runs")
        saved = Path(folder) / "id.npy"
        identities.save(person, saved)
        whole = [_command(saved, Path(folder) / f"all-{i}", *RUNTIMES) for i in range(3)]
        click.echo(f"compile to {', '.join(RUNTIMES)}, whole process: {min(whole):.1f}..{max(whole):.1f} s, 3 runs")
        fresh, *cached = [_command(saved, Path(folder) / f"c-{i}", "c") for i in range(4)]
        click.echo(f"compile to c, whole process: {fresh:.1f} s; then {min(cached):.1f}..{max(cached):.1f} s, 3 runs")


def _once(checkpoint: Checkpoint, person: identities.Identity, folder: Path) -> float:
    start = time.perf_counter()
    model = passes.optimise(build.build(fold(checkpoint, person).weights(), size=224))
    target.get("onnx").emit(model, folder / "idn.onnx", EmitOptions())
    return time.perf_counter() - start


def _command(identity: Path, out: Path, *targets: str) -> float:
    """Seconds; libraries of C are cached in a folder beside ``out``."""
    command = [sys.executable, "-m", "mfs_edge", "compile", "--identity", str(identity), "--out", str(out)]
    chosen = [word for name in targets for word in ("--target", name)]
    start = time.perf_counter()
    settings = {**os.environ, "MFS_EDGE_CACHE": str(out.parent / "cache")}
    subprocess.run([*command, *chosen], check=True, capture_output=True, env=settings)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
