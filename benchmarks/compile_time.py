"""How long compiling takes: ``python benchmarks/compile_time.py``.

Two figures: fold + graph + passes + write in a process that has imported torch and read the
checkpoint (median and spread of many runs), and the whole command for all targets as a user
starts it, imports and verification included.
"""

from __future__ import annotations

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
        whole = [_command(saved, Path(folder) / f"all-{i}") for i in range(3)]
        click.echo(f"compile --target all, whole process: {min(whole):.1f}..{max(whole):.1f} s, 3 runs")


def _once(checkpoint: Checkpoint, person: identities.Identity, folder: Path) -> float:
    start = time.perf_counter()
    model = passes.optimise(build.build(fold(checkpoint, person).weights(), size=224))
    target.get("onnx").emit(model, folder / "idn.onnx", EmitOptions())
    return time.perf_counter() - start


def _command(identity: Path, out: Path) -> float:
    command = [sys.executable, "-m", "mfs_edge", "compile", "--identity", str(identity), "--target", "all"]
    start = time.perf_counter()
    subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
