"""Instructions per frame of the demo on emulated Raspberry Pis, held against a baseline.

    python benchmarks/emulated.py             what CI runs: fails where a frame costs over 2 % more
    python benchmarks/emulated.py --record    after an intended change, or a new runtime version
    python benchmarks/emulated.py --prove 10  plant 5 % more instructions ten times, and none twenty times

Counts depend on the runtime, so the baseline names its version; another one is refused rather
than compared. Few frames do, as frames of one process differ by less than 0.1 %.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from mfs_edge.base import fidelity
from mfs_edge.base.errors import CheckFailed, InputError, MfsEdgeError, UsageError
from mfs_edge.emulation import count, setup
from mfs_edge.emulation import device as emulated
from mfs_edge.emulation.boards import BOARDS
from mfs_edge.emulation.environment import tell
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.measure import gate, results, run
from mfs_edge.measure.devices import Watch
from mfs_edge.measure.progress import Bars
from mfs_edge.pipeline import compile as pipeline
from mfs_edge.sample import weights
from mfs_edge.sample.pictures import exam_pictures
from mfs_edge.verify.reference import on_each, reference_of

if TYPE_CHECKING:
    import onnx_ir as ir

BASELINE = Path(__file__).parent / "baselines" / "emulated.json"
TARGETS = ("onnx", "tflite")
PRECISIONS = ("fp32", "int8")
SIZE = 224
FRAMES = count.SHORT  # of each process
# A pointwise convolution behind these nodes costs 5 to 6 % of a frame, on either runtime.
PLANTED = {"onnx": ("mask.0.up",), "tflite": ("encoder.0.leaky", "encoder.1.leaky")}


@click.command(help=__doc__)
@click.option("--record", is_flag=True, help="Write the baseline instead of comparing with it.")
@click.option("--prove", type=int, default=0, help="Check the gate itself with this many planted regressions.")
@click.option("--board", "boards", multiple=True, type=click.Choice(list(BOARDS)), default=tuple(BOARDS))
@click.option("--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS), default=PRECISIONS)
def main(record: bool, prove: int, boards: tuple[str, ...], precisions: tuple[str, ...]) -> None:
    try:
        if record and (set(boards), set(precisions)) != (set(BOARDS), set(PRECISIONS)):
            raise UsageError("--record: a baseline holds every board and precision; record without the others")
        stored = None if record or prove else baseline()  # before minutes of measuring
        with tempfile.TemporaryDirectory() as folder:
            if prove:
                prove_gate(Path(folder), prove)
            else:
                measure(compiled(Path(folder), precisions), boards, stored)
    except MfsEdgeError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


def baseline() -> results.Report:
    """What was recorded.

    Raises:
        InputError: nothing was, or an older version of this program has; the message says how to.
    """
    if not BASELINE.exists():
        raise InputError(f"{BASELINE}: does not exist; record it with: python benchmarks/emulated.py --record")
    try:
        return results.load(BASELINE)
    except InputError as error:
        raise InputError(f"{str(error).rpartition(';')[0]}; record it anew with --record") from error


def compiled(folder: Path, precisions: Sequence[str]) -> list[Path]:
    """The demo's artefacts in ``folder``, with the torch reference that their pictures are judged by there."""
    checkpoint, identity = demo()
    found = []
    for precision in precisions:
        made = pipeline.compile(
            checkpoint=checkpoint,
            identity=identity,
            target=TARGETS,
            precision=precision,
            size=SIZE,
            out=folder,
            verify=False,  # it is the boards that have to give the picture
        )
        found += [folder / artefact.file for artefact in made.manifest.artefacts]
    write_reference(folder, checkpoint, identity)
    return found


def demo() -> tuple[Checkpoint, Identity]:
    """The embedded weights, and the identity of the first of the embedded pictures."""
    return weights.checkpoint("iin"), weights.identity(0)


def write_reference(folder: Path, checkpoint: Checkpoint, identity: Identity) -> None:
    """What the torch reference makes of the drawn faces among the pictures that artefacts are verified on."""
    reference = reference_of(checkpoint, identity)
    images = exam_pictures(SIZE)[:FRAMES]
    outputs = on_each(reference, images)
    arrays: dict[str, Any] = {n: np.concatenate([each[n] for each in outputs]) for n in fidelity.OUTPUT_NAMES}
    np.savez(folder / emulated.REFERENCE, images=np.concatenate(images), **arrays)


def measure(artefacts: Sequence[Path], boards: Sequence[str], stored: results.Report | None) -> None:
    """Every artefact on every board, then the verdict; recorded where nothing is ``stored``.

    Raises:
        CheckFailed: a frame costs more than in the baseline, or the baseline is not comparable.
    """
    with Bars() as bars:
        found = run.bench(*artefacts, device=[f"emulated:{name}" for name in boards], progress=bars)
    causes = [*found.causes, *found.failures]
    if stored is None and not causes:
        found.save(BASELINE)
        click.echo(f"recorded {BASELINE}")
    causes += compare(found, stored or found, BASELINE)
    show(found, stored or found)
    for cause in causes[:-1]:
        click.echo(f"error: {cause}", err=True)
    if causes:
        raise CheckFailed(causes[-1])


def compare(found: results.Report, stored: results.Report, path: Path) -> list[str]:
    """One line per entry that costs more, or has nothing comparable in the baseline."""
    before = {(entry.device, entry.facts.file): entry for entry in stored.entries}
    causes = []
    for entry in found.entries:
        base = before.get((entry.device, entry.facts.file))
        if base is None:
            causes.append(f"{path}: has no {entry.facts.file} on {entry.device}; record it anew with --record")
        elif counted_by(entry) != counted_by(base):
            causes.append(
                f"{path}: {entry.facts.file} on {entry.device} was counted by {counted_by(base)}, now by "
                f"{counted_by(entry)}; record it anew with --record"
            )
        else:
            causes += gate.compare(entry, base, snapshot=True).causes
    return causes


def counted_by(entry: results.Entry) -> str:
    """What a count depends on besides the artefact."""
    seen = entry.observation
    cpu = seen.instructions.cpu if seen.instructions else "nothing"
    return f"{seen.machine.runtime} {seen.machine.runtime_version} on {cpu}"


def show(found: results.Report, stored: results.Report) -> None:
    """The table, the pictures, and once what the table does not mean."""
    from benchmarks import peerlib

    before = {(entry.device, entry.facts.file): entry.observation.instructions for entry in stored.entries}
    rows = [_row(entry, before.get((entry.device, entry.facts.file))) for entry in found.entries]
    if rows:
        peerlib.show("Emulated Raspberry Pis", rows)
    for entry in found.entries:
        click.echo("\n".join(entry.observation.notes))
    click.echo("\n".join(dict.fromkeys([*found.notes, emulated.MEANING])))


def _row(entry: results.Entry, base: results.Instructions | None) -> dict[str, Any]:
    seen = entry.observation
    count, taken = seen.instructions, seen.coverage
    return {
        "artefact": entry.facts.file,
        "device": entry.device,
        "instructions, M per frame": count.median / 1e6 if count else "-",
        "spread, %": 100 * count.spread if count else "-",
        "against the baseline, %": 100 * (count.median / base.median - 1) if count and base else "new",
        "in XNNPACK": f"{taken.delegated} of {taken.nodes} nodes" if taken else "-",
        "peak memory, MB": (seen.peak_rss_bytes or 0) / 1e6,
    }


def prove_gate(folder: Path, times: int) -> None:
    """The gate itself: planted regressions are caught, identical files raise no alarm.

    Raises:
        CheckFailed: it missed one, or cried wolf.
    """
    from mfs_edge import target
    from mfs_edge.fold import fold
    from mfs_edge.graph import build, passes

    graph = passes.optimise(build.build(fold(*demo()).weights(), size=SIZE))
    missed = wolf = 0
    for kind in map(target.get, TARGETS):
        same, worse = folder / f"idn{kind.suffix}", folder / f"worse{kind.suffix}"
        kind.emit(graph, same, target.EmitOptions())
        kind.emit(redundant_pointwise(graph, PLANTED[kind.name]), worse, target.EmitOptions())
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


def redundant_pointwise(model: ir.Model, after: Sequence[str]) -> ir.Model:
    """A copy of ``model`` with a pointwise identity behind each of the nodes named."""
    from mfs_edge.graph import edit

    changed = model.clone()
    for node in [node for node in changed.graph if node.name in after]:
        value = node.outputs[0]
        channels = edit.weight(next(use.node for use in value.uses()), 1).shape[0]
        identity = np.eye(channels, dtype=np.float32)[:, :, None, None]
        weight = edit.new_initialiser(changed.graph, f"{node.name}.identity", identity)
        readers = list(value.uses())
        extra = edit.new_node(f"{node.name}.redundant", "Conv", value, weight, kernel_shape=[1, 1])
        extra.outputs[0].shape, extra.outputs[0].type = value.shape, value.type
        changed.graph.insert_after(node, extra)
        for reader, index in readers:
            reader.replace_input_with(index, extra.outputs[0])
    return changed


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, only this folder is on the path
    main()
