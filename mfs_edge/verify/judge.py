"""Execute what was written, compare it with the reference, and set aside what is too far off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge import bundle
from mfs_edge.base import fidelity, files, images
from mfs_edge.base.fidelity import Outputs, Swapper
from mfs_edge.base.progress import Steps
from mfs_edge.bundle.manifest import ArtefactRecord, Verification
from mfs_edge.precisions import INTEGER, Graph
from mfs_edge.sample import probe
from mfs_edge.sample.pictures import exam_pictures
from mfs_edge.target import Loaded, Runner, Target
from mfs_edge.verify.reference import on_each

if TYPE_CHECKING:
    import numpy as np

    from mfs_edge.quantize.calibration import CalibrationSet

FAINT_MASK = 0.05
HELD_OUT = 32  # pictures at most
SATURATION_ON = 8  # pictures: every tensor of every one is looked at


@dataclass(frozen=True)
class Exam:
    """Pictures, what the reference makes of them, and what clips on them."""

    title: str
    pictures: Sequence[np.ndarray]  # float32 [1, 3, S, S] in 0..1
    expected: Sequence[Outputs]
    saturation: dict[str, float] | None = None  # 0..1 per tensor of a quantised graph


Reference = Callable[["np.ndarray"], Outputs]


def exams(
    graphs: Mapping[str, Graph], reference: Reference, calibration: CalibrationSet | None, *, size: int, steps: Steps
) -> dict[str, Exam]:
    """What the artefacts of each precision are judged on: integers on pictures held out from calibration.

    Args:
        graphs: by what ``precisions.make`` calls them.
        reference: outputs of an image, float32 [1, 3, S, S] in 0..1; see ``reference_of``.
        calibration: what integers were calibrated on; None where there are none.
        size: S.
        steps: told of progress.
    """
    found: dict[str, Exam] = {}
    if floats := graphs.keys() - set(INTEGER):
        general = _exam("drawn faces, noise, a ramp and grey", exam_pictures(size), reference, steps)
        found |= dict.fromkeys(floats, general)
    if calibration is not None and (integers := graphs.keys() - floats):
        pictures = list(calibration.held_out.spread(HELD_OUT))
        held_out = _exam(f"{len(pictures)} pictures held out from {calibration.source}", pictures, reference, steps)
        found |= {p: replace(held_out, saturation=_saturation(graphs[p], pictures, steps)) for p in integers}
    return found


def _exam(title: str, pictures: Sequence[np.ndarray], reference: Reference, steps: Steps) -> Exam:
    with steps.step(f"run the torch reference on {title}"):
        expected = on_each(reference, pictures)
    if max(float(outputs["mask"].max()) for outputs in expected) < FAINT_MASK:
        steps.note(
            f"the reference masks nothing on any test image at {pictures[0].shape[-1]} px (it finds no face it knows): "
            "the swapped picture is then the input, and agreement on it says little"
        )
    return Exam(title, pictures, expected)


def _saturation(graph: Graph, pictures: Sequence[np.ndarray], steps: Steps) -> dict[str, float]:
    from mfs_edge.verify import damage

    with steps.step(f"count what clips in {graph.precision}"):
        return damage.saturation(graph.model, pictures[:SATURATION_ON])


def prove(
    artefact: ArtefactRecord, target: Target, exam: Exam, stage: Path, *, min_psnr: float | None, steps: Steps
) -> ArtefactRecord:
    """``artefact`` with its verification; renamed in ``stage`` if it failed.

    Args:
        artefact: what was written into ``stage``.
        target: that wrote it.
        exam: of its precision.
        stage: the folder that holds it; an integer artefact's worst picture is drawn there too.
        min_psnr: dB that each output must reach on average; None is the default of precision and I/O.
        steps: told of progress.
    """
    unrunnable = target.unrunnable()
    with steps.step(f"verify {artefact.file}"):
        runner = opened(target, stage / artefact.file)
        found = fidelity.compare(runner, exam.pictures, exam.expected) if runner is not None else None
    if unrunnable is not None:
        steps.note(f"{artefact.file}: {unrunnable}" + ("; evaluated operation by operation" if found else ""))
    if runner is None or found is None:
        not_run = Verification(status="not verified", verified="no", run=str(unrunnable))
        return artefact.model_copy(update={"verification": not_run})
    threshold = fidelity.default_min_psnr(artefact.precision, artefact.io) if min_psnr is None else min_psnr
    verification = Verification(
        status="passed" if fidelity.passes(found, threshold) else "failed",
        verified="runtime" if unrunnable is None else "evaluator",
        run=unrunnable or " / ".join(target.run_needs),
        execution=runner.execution(),
        probe=probe.encode(probe.seen(runner.run(probe.picture(artefact.size)))),
        pictures=exam.title,
        min_psnr=threshold,
        swapped=found["swapped"],
        mask=found["mask"],
        saturation=exam.saturation,
    )
    proven = artefact.model_copy(update={"verification": verification, "warnings": _warnings(artefact, runner)})
    if exam.saturation is not None:
        proven = _with_worst(proven, runner, exam, found["swapped"].worst, stage)
    return reject(proven, stage) if verification.status == "failed" else proven


def _warnings(artefact: ArtefactRecord, runner: Runner) -> tuple[str, ...]:
    """With what its runtime makes of the file."""
    return (*artefact.warnings, *(runner.warnings() if isinstance(runner, Loaded) else ()))


def opened(target: Target, path: Path) -> Runner | None:
    """What executes the artefact at ``path`` here: its runtime, or else its evaluator; None if neither can."""
    return target.load(path) if target.unrunnable() is None else target.evaluator(path)


def _with_worst(artefact: ArtefactRecord, runner: Swapper, exam: Exam, worst: int, stage: Path) -> ArtefactRecord:
    """The worst picture of ``exam``, drawn beside the artefact and recorded with it."""
    from mfs_edge.verify import damage

    name = f"{artefact.file}.worst.png"
    caption = f"{artefact.file}: the worst of {exam.title}"
    images.write_rgb(stage / name, damage.draw_worst(runner, exam.pictures[worst], exam.expected[worst], caption))
    verification = artefact.verification.model_copy(update={"worst_picture": name})
    recorded = {**artefact.files, name: files.sha256(stage / name)}
    return artefact.model_copy(update={"verification": verification, "files": recorded})


def reject(artefact: ArtefactRecord, stage: Path) -> ArtefactRecord:
    """Keep what failed, under a name that nobody ships by accident."""

    def rejected(name: str) -> str:
        return f"{name}{bundle.REJECTED}"

    artefact.within(stage).rename(rejected)
    renamed = {rejected(name): digest for name, digest in artefact.files.items()}
    return artefact.model_copy(update={"file": rejected(artefact.file), "files": renamed, "runs": ()})
