"""Can the timing gate be trusted? An A/A study, and planted slowdowns, on this machine as it is.

    python benchmarks/noise.py --busy --repeats 30          A/A: one core kept busy by something else
    python benchmarks/noise.py --plant 0.15 --repeats 10    redundant pointwise convs worth 15 % of the time

Every repeat is a whole comparison as ``mfs-edge bench HEAD --against BASE`` makes it, on the
demo network. It fails if more than one A/A repeat in thirty alarms, or a planted slowdown is
missed once.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, only this folder is on the path

from mfs_edge.measure import paired, pinning
from mfs_edge.measure.devices import Request, Watch
from mfs_edge.measure.devices.local import LocalDevice
from mfs_edge.measure.results import Comparison
from tests.measure import plant

ALLOWED_ALARMS = 1 / 30


def _spin(cpu: int) -> None:
    os.sched_setaffinity(0, {cpu})
    parent = os.getppid()
    while os.getppid() == parent:  # it must not outlive a study that was killed
        pass


@contextmanager
def busy_core(wanted: bool) -> Iterator[None]:
    """The last CPU at full load, as by another job on the same runner."""
    if not wanted:
        yield
        return
    worker = multiprocessing.Process(target=_spin, args=(max(os.sched_getaffinity(0)),), daemon=True)
    worker.start()
    try:
        yield
    finally:
        worker.kill()


def artefact(folder: Path, size: int) -> Path:
    """The demo network of one drawn face."""
    from benchmarks import peerlib
    from mfs_edge.graph import build, passes
    from mfs_edge.target import EmitOptions, get

    graph = passes.optimise(build.build(peerlib.demo_weights(), size=size), level=1)
    get("onnx").emit(graph, folder / "base.onnx", EmitOptions())
    return folder / "base.onnx"


@click.command(help=__doc__)
@click.option("--repeats", default=30, show_default=True)
@click.option("--busy", is_flag=True, help="Keep one core at full load meanwhile.")
@click.option("--plant", "planted", type=float, help="Share of the time that the head takes more; none is A/A.")
@click.option("--size", default=224, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--max-regression", default=10.0, show_default=True)
@click.option("--max-pairs", default=40, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    repeats: int,
    busy: bool,
    planted: float | None,
    size: int,
    threads: int,
    max_regression: float,
    max_pairs: int,
    json_path: Path | None,
) -> None:
    plan = paired.Plan(max_regression=max_regression, max_pairs=max_pairs)
    device, found = LocalDevice(), list[Comparison]()
    with tempfile.TemporaryDirectory() as folder, busy_core(busy):
        base, head = artefact(Path(folder), size), Path(folder) / "head.onnx"
        if planted:
            click.echo(f"planted: {plant.slow_down(base, head, share=planted):+.1%} of the time")
        else:
            shutil.copyfile(base, head)
        for number in range(repeats):
            request = pinning.pinned(Request(threads=threads), device)
            seen = paired.compare(device, head=head, base=base, request=request, plan=plan, watch=Watch())
            found.append(seen.comparison)
            click.echo(f"{number + 1:3d} {_line(found[-1])}")
    verdicts = Counter(comparison.verdict for comparison in found)
    changes = [c.change.estimate for c in found if c.change]
    click.echo(f"{dict(verdicts)}; median change {statistics.median(changes):+.1f} %, machine: {found[0].machine_key}")
    if json_path:
        rows = [comparison.model_dump(mode="json") for comparison in found]
        json_path.write_text(json.dumps({"busy": busy, "planted": planted, "repeats": rows}, indent=1) + "\n")
    alarms = verdicts["slower"]
    if alarms < repeats if planted else alarms > max(1, repeats * ALLOWED_ALARMS):
        raise click.exceptions.Exit(1)


def _line(found: Comparison) -> str:
    change, noise = found.change, found.control
    if change is None or noise is None:
        return found.verdict
    return (
        f"{found.verdict:12s} {change.estimate:+6.1f} % [{change.low:+.1f}, {change.high:+.1f}], "
        f"A/A {noise.low:+.1f} .. {noise.high:+.1f} %, {found.pairs} pairs"
    )


if __name__ == "__main__":
    main()
