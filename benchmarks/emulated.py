"""Instructions per frame of the demo on emulated Raspberry Pis, held against a baseline.

    python benchmarks/emulated.py             what CI runs: fails where a frame costs over 2 % more
    python benchmarks/emulated.py --record    after an intended change, or a new runtime version
    python benchmarks/emulated.py --prove 10  plant 5 % more instructions ten times, and none twenty times

Few frames do, as frames of one process differ by less than 0.1 %.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, only this folder is on the path

from benchmarks import peerlib
from mfs_edge import bench, target
from mfs_edge.base.errors import CheckFailed, UsageError
from mfs_edge.base.progress import Printed
from mfs_edge.cli import show as tables
from mfs_edge.emulation import count, setup
from mfs_edge.emulation import device as emulated
from mfs_edge.emulation.boards import BOARDS
from mfs_edge.emulation.environment import tell
from mfs_edge.graph import build, passes
from mfs_edge.measure import gate, results, run
from mfs_edge.measure.devices import Watch
from mfs_edge.measure.observed import Instructions
from mfs_edge.pipeline import compile as pipeline
from mfs_edge.sample import weights
from tests.measure import plant

BASELINE = Path(__file__).parent / "baselines" / "emulated.json"
TARGETS = {"fp32": ("c", "onnx", "tflite"), "fp16": ("c",), "int8": ("c", "onnx", "tflite")}  # by precision
PLANTED = ("onnx", "tflite")  # target c takes no graph with a conv too many
PRECISIONS = tuple(TARGETS)
SIZE = 224
Place = tuple[str, str]  # a file, on a device
FRAMES = count.SHORT  # of each process


@click.command(help=__doc__)
@click.option("--record", is_flag=True, help="Write the baseline instead of comparing with it.")
@click.option("--prove", type=int, default=0, help="Check the gate itself with this many planted regressions.")
@click.option("--board", "boards", multiple=True, type=click.Choice(list(BOARDS)), default=tuple(BOARDS))
@click.option("--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS), default=PRECISIONS)
@peerlib.told()
def main(record: bool, prove: int, boards: tuple[str, ...], precisions: tuple[str, ...]) -> None:
    if record and (set(boards), set(precisions)) != (set(BOARDS), set(PRECISIONS)):
        raise UsageError("--record: a baseline holds every board and precision; record without the others")
    if not record and not prove:
        results.load(BASELINE)  # before minutes of measuring
    with tempfile.TemporaryDirectory() as folder:
        if prove:
            prove_gate(Path(folder), prove)
        else:
            measure(compiled(Path(folder), precisions), boards, record=record)


def compiled(folder: Path, precisions: Sequence[str]) -> list[Path]:
    """The demo's artefacts in ``folder``, and what their proven sessions give."""
    found = []
    for precision in precisions:
        made = pipeline.compile(
            checkpoint=weights.checkpoint("iin"),
            identity=weights.identity(0),
            target=TARGETS[precision],
            precision=precision,
            size=SIZE,
            out=folder,
        )
        found += [folder / artefact.file for artefact in made.manifest.artefacts]
    return found


def measure(artefacts: Sequence[Path], boards: Sequence[str], *, record: bool = False) -> None:
    """Every artefact on every board, then the verdict.

    Raises:
        CheckFailed: a frame costs more than in the baseline, or that does not hold every artefact and board.
    """
    devices = [f"emulated:{name}" for name in boards]
    baseline = None if record else BASELINE
    found = bench(*artefacts, device=devices, baseline=baseline, time=False, progress=Printed())
    stored = found if record else results.load(BASELINE)
    missing = {*_counts(found)} - {*_counts(stored)}
    causes = (*found.causes, *(f"{BASELINE}: has no {' on '.join(place)}; record it anew" for place in sorted(missing)))
    show(found.model_copy(update={"causes": causes}), "the baseline", lambda *place: place, stored)
    if record:
        found.save(BASELINE)
        click.echo(f"recorded {BASELINE}")


def show(
    found: results.Report, title: str, other: Callable[[str, str], Place], base: results.Report | None = None
) -> None:
    """What was found, each count beside that of another file and device, in ``base`` if there is one.

    Raises:
        CheckFailed, DeviceError: it has not passed.
    """
    tables.benched(found)
    before = _counts(base or found)
    for place, counted in _counts(found).items():
        if theirs := before.get(other(*place)):
            change = 100 * (counted.median / theirs.median - 1)
            spread = 100 * counted.spread
            click.echo(f"{' on '.join(place)}: {change:+.2f} % against {title}, spread {spread:.2f} %")
    click.echo(emulated.MEANING)
    run.require_passed(found)


def _counts(report: results.Report) -> dict[Place, Instructions]:
    seen = {(entry.facts.file, entry.device): entry.observation.instructions for entry in report.entries}
    return {place: counted for place, counted in seen.items() if counted}


def prove_gate(folder: Path, times: int) -> None:
    """The gate itself: planted regressions are caught, identical files raise no alarm.

    Raises:
        CheckFailed: it missed one, or cried wolf.
    """
    graph = passes.optimise(build.build(peerlib.demo_weights(), size=SIZE))
    missed = wolf = 0
    for kind in map(target.get, PLANTED):
        same, worse = folder / f"idn{kind.suffix}", folder / f"worse{kind.suffix}"
        kind.emit(graph, same, target.EmitOptions())
        kind.emit(plant.redundant_pointwise(graph, kind.name), worse, target.EmitOptions())
        before = median(same)
        planted = [median(worse) / before - 1 for _ in range(times)]
        identical = [median(same) / before - 1 for _ in range(2 * times)]
        missed += sum(change <= gate.INSTRUCTIONS_SLACK for change in planted)
        wolf += sum(change > gate.INSTRUCTIONS_SLACK for change in identical)
        for what, changes in (("planted", planted), ("identical", identical)):
            low, high = 100 * min(changes), 100 * max(changes)
            click.echo(f"{kind.name}, {what}, {len(changes)} times: {low:+.4f} to {high:+.4f} %")
    if missed or wolf:
        raise CheckFailed(f"the gate missed {missed} regressions and raised {wolf} false alarms; do not trust it")


def median(artefact: Path) -> float:
    """Instructions per frame on a Raspberry Pi 5, from as few frames as give a median."""
    images = emulated.images(SIZE)[:FRAMES]
    return count.emulate(setup.ensure(tell), BOARDS["rpi5"], artefact, images, watch=Watch(), say=tell)[1].median


if __name__ == "__main__":
    main()
