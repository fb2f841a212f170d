"""Execute what was written, compare it with the reference, and set aside what is too far off."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfs_edge import bundle
from mfs_edge.base import fidelity, files, images
from mfs_edge.base.fidelity import Swapper
from mfs_edge.base.progress import Steps
from mfs_edge.bundle import manifest as records
from mfs_edge.precisions import INTEGER, Graphs
from mfs_edge.sample import probe
from mfs_edge.sample.pictures import exam_pictures
from mfs_edge.target import Loaded, Runner, Target
from mfs_edge.verify.reference import on_each, reference_of

if TYPE_CHECKING:
    import numpy as np

    from mfs_edge.base.fidelity import Outputs

FAINT_MASK = 0.05


@dataclass(frozen=True)
class Exam:
    """Pictures, and what the reference makes of them."""

    title: str
    pictures: Sequence[np.ndarray]  # float32 [1, 3, S, S] in 0..1
    expected: Sequence[Outputs]


class Judge:
    """The reference, run once for all artefacts."""

    def __init__(self, graphs: Graphs, steps: Steps) -> None:
        self.graphs = graphs
        self.steps = steps
        self._reference = reference_of(graphs.checkpoint, graphs.identity)
        self._saturation: dict[str, dict[str, float]] = {}

    def exam(self, precision: str) -> Exam:
        """What an artefact of ``precision`` is judged on: integers on pictures held out from calibration."""
        return self.held_out if precision in INTEGER else self.general

    @functools.cached_property
    def general(self) -> Exam:
        return self._exam("drawn faces, noise, a ramp and grey", exam_pictures(self.graphs.size))

    @functools.cached_property
    def held_out(self) -> Exam:
        calibration = self.graphs.calibration
        pictures = list(calibration.held_out.spread(HELD_OUT))
        return self._exam(f"{len(pictures)} pictures held out from {calibration.source}", pictures)

    def saturation(self, precision: str) -> dict[str, float]:
        """The share of each tensor's values that clip; the same for every file of one graph."""
        from mfs_edge.verify import damage

        if precision not in self._saturation:
            with self.steps.step(f"count what clips in {precision}"):
                pictures = self.held_out.pictures[:SATURATION_ON]
                self._saturation[precision] = damage.saturation(self.graphs.at(precision), pictures)
        return self._saturation[precision]

    def _exam(self, title: str, pictures: Sequence[np.ndarray]) -> Exam:
        with self.steps.step(f"run the torch reference on {title}"):
            expected = on_each(self._reference, pictures)
        if max(float(outputs["mask"].max()) for outputs in expected) < FAINT_MASK:
            self.steps.note(
                f"the reference masks nothing on any test image at {self.graphs.size} px (it finds no face it knows): "
                "the swapped picture is then the input, and agreement on it says little"
            )
        return Exam(title, pictures, expected)


HELD_OUT = 32  # pictures at most
SATURATION_ON = 8  # pictures: every tensor of every one is looked at


def prove(
    artefact: records.Artefact, target: Target, judge: Judge, stage: Path, min_psnr: float | None
) -> records.Artefact:
    """``artefact`` with its verification; renamed in ``stage`` if it failed."""
    path = stage / artefact.file
    unrunnable = target.unrunnable()
    exam = judge.exam(artefact.precision)
    with judge.steps.step(f"verify {artefact.file}"):
        runner = target.load(path) if unrunnable is None else target.evaluator(path)
        found = fidelity.compare(runner, exam.pictures, exam.expected) if runner is not None else None
    if unrunnable is not None:
        judge.steps.note(f"{artefact.file}: {unrunnable}" + ("; evaluated operation by operation" if found else ""))
    if runner is None or found is None:
        verification = records.Verification(status="not verified", verified="no", run=str(unrunnable))
        return artefact.model_copy(update={"verification": verification})
    threshold = fidelity.default_min_psnr(artefact.precision, artefact.io) if min_psnr is None else min_psnr
    verification = records.Verification(
        status="passed" if fidelity.passes(found, threshold) else "failed",
        verified="runtime" if unrunnable is None else "evaluator",
        run=unrunnable or " / ".join(target.run_needs),
        execution=runner.execution(),
        probe=probe.encode(probe.seen(runner.run(probe.picture(artefact.size)))),
        pictures=exam.title,
        min_psnr=threshold,
        swapped=_recorded(found["swapped"]),
        mask=_recorded(found["mask"]),
        **(_damage(artefact, runner, judge, found["swapped"].worst, stage) if artefact.precision in INTEGER else {}),
    )
    proven = artefact.model_copy(update={"verification": verification, "warnings": _warnings(artefact, runner)})
    if verification.worst_picture:
        digest = files.sha256(stage / verification.worst_picture)
        proven = proven.model_copy(update={"files": {**artefact.files, verification.worst_picture: digest}})
    return _reject(proven, stage) if verification.status == "failed" else proven


def _warnings(artefact: records.Artefact, runner: Runner) -> tuple[str, ...]:
    """With what its runtime makes of the file."""
    return (*artefact.warnings, *(runner.warnings() if isinstance(runner, Loaded) else ()))


def _recorded(found: fidelity.Fidelity) -> records.Fidelity:
    return records.Fidelity(max_abs=found.max_abs, psnr_mean=found.psnr_mean, psnr_worst=found.psnr_worst)


def _damage(artefact: records.Artefact, runner: Swapper, judge: Judge, worst: int, stage: Path) -> dict[str, Any]:
    """Saturation per tensor of the quantised graph, and the worst held-out picture, drawn."""
    from mfs_edge.verify import damage

    exam = judge.held_out
    caption = f"{artefact.file}: the worst of {exam.title}"
    name = f"{artefact.file}.worst.png"
    images.write_rgb(stage / name, damage.draw_worst(runner, exam.pictures[worst], exam.expected[worst], caption))
    return {"worst_picture": name, "saturation": judge.saturation(artefact.precision)}


def _reject(artefact: records.Artefact, stage: Path) -> records.Artefact:
    """Keep what failed, under a name that nobody ships by accident."""
    for name in artefact.files:
        (stage / name).rename(stage / f"{name}{bundle.REJECTED}")
    renamed = {f"{name}{bundle.REJECTED}": digest for name, digest in artefact.files.items()}
    return artefact.model_copy(update={"file": f"{artefact.file}{bundle.REJECTED}", "files": renamed})
