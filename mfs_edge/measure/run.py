"""``bench``: what to measure, on which devices, and what to hold it against."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from mfs_edge.base import files
from mfs_edge.base.errors import CheckFailed, DeviceError, MissingDependency, UsageError
from mfs_edge.base.progress import Jobs, Recorded
from mfs_edge.measure import facts, gate, history, page, paired, pinning, results, summary
from mfs_edge.measure.devices import Device, Options, Request, open_device
from mfs_edge.measure.observed import Chosen
from mfs_edge.measure.results import Report, Trend
from mfs_edge.measure.task import Task
from mfs_edge.pack import container
from mfs_edge.pack.apply import filled

PathLike = str | Path
LEAST_RUNS = 50
LEAST_WARMUP = 10
LEAST_SIDE, MOST_SIDE = 64, 16384  # of a frame


def bench(
    *artefacts: PathLike,
    device: str | Sequence[str] = "local",
    threads: int | None = None,
    runs: int = LEAST_RUNS,
    warmup: int = LEAST_WARMUP,
    json: PathLike | None = None,
    frame: str | None = None,
    stages: str = "swap",
    face_models: PathLike | None = None,
    pack: PathLike | Sequence[PathLike] = (),
    key: PathLike | None = None,
    budget: PathLike | None = None,
    baseline: PathLike | None = None,
    against: PathLike | None = None,
    max_regression: str | float = "10%",
    strict: bool = False,
    runner: PathLike | None = None,
    python: str | None = None,
    cpu_mask: str | None = None,
    max_pairs: int = paired.Plan.max_pairs,
    time: bool = True,
    markdown: PathLike | None = None,
    html: PathLike | None = None,
    history: PathLike | None = None,
    progress: Jobs | None = None,
) -> Report:
    """Measure artefacts on devices, and hold them against budgets, a baseline or another artefact.

    Args, the others as ``mfs-edge bench --help`` says:
        artefacts: files, or bundle folders; none means ``build``.
        frame: "1920x1080": time whole frames of that size, with one face, instead of aligned crops.
        stages: of whole frames: "swap" is align, network and paste; "all" also decodes, finds the face and encodes.
        face_models: the folder of what finds faces, for all stages; None is where ``mfs-edge face-models`` puts it.
        max_regression: per cent of p50 that is still accepted, "10%" or 10.
        json, markdown, html, history: where to write; after an interruption ``json`` is marked partial.

    Returns:
        The report; ``report.passed`` tells whether a check failed, ``failures`` names devices that failed.

    Raises:
        UsageError, InputError: an option or file cannot be used; nothing was measured.
        DeviceError, MissingDependency: no device could be used, or what finds faces was never fetched.
    """
    request = _request(threads=threads, runs=runs, warmup=warmup, cpu_mask=cpu_mask, time=time)
    plan = paired.Plan(max_regression=gate.percentage(max_regression), max_pairs=_pairs(max_pairs))
    devices = _devices(device, Options(python=python, runner=Path(runner) if runner else None))
    paths = facts.artefacts(tuple(Path(path) for path in artefacts or ("build",)))
    request = replace(
        request,
        frame=_frame(frame, devices),
        finders=_finders(stages, frame, face_models, devices),
        switched=_switched(paths, [pack] if isinstance(pack, str | Path) else pack, key),
    )
    task = Task(devices, paths, _bases(paths, Path(against)) if against else {}, request, plan, timed=time)
    limits = gate.read_budget(Path(budget)) if budget else None
    stored = results.load(Path(baseline)) if baseline else None
    outputs = _Outputs(*(Path(p) if p else None for p in (json, markdown, html, history)))
    outputs.check()
    try:
        task.run(progress or Recorded())
    except KeyboardInterrupt:
        outputs.write(task.report(partial=True), task.folders)
        raise
    report = _judged(task, limits, stored, Path(str(baseline)), strict=strict)
    outputs.write(report, task.folders)
    task.raise_if_nothing()
    return report


def _request(*, threads: int | None, runs: int, warmup: int, cpu_mask: str | None, time: bool) -> Request:
    if threads is not None and threads < 1:
        raise UsageError(f"--threads {threads}: must be at least 1")
    if runs < LEAST_RUNS or warmup < LEAST_WARMUP:
        raise UsageError(
            f"--runs {runs} --warmup {warmup}: too few to mean anything; "
            f"at least {LEAST_RUNS} runs after {LEAST_WARMUP} of warm-up are needed"
        )
    request = Request(threads=threads, runs=runs, warmup=warmup, cpus=pinning.from_mask(cpu_mask))
    return request if time else replace(request.quick(), runs=3, warmup=1, seconds=0.0, warmup_seconds=0.0)


def _frame(given: str | None, devices: Sequence[Device]) -> tuple[int, int] | None:
    """Width and height; every device must be able to."""
    if given is None:
        return None
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", given)
    width, height = map(int, found.groups()) if found else (0, 0)
    if not LEAST_SIDE <= min(width, height) <= max(width, height) <= MOST_SIDE:
        raise UsageError(
            f"--frame {given}: is no size of a frame; write it like 1920x1080, sides of {LEAST_SIDE} to {MOST_SIDE}"
        )
    for device in devices:
        if not getattr(device, "whole_frames", False):
            raise UsageError(f"--frame {given}: {device.name} times aligned crops only; use local or ssh:USER@HOST")
    return width, height


def _finders(
    stages: str, frame: str | None, folder: PathLike | None, devices: Sequence[Device]
) -> tuple[Path, Path] | None:
    """The files that find faces where all stages are timed, which every device must be able to; None for a swap's."""
    if stages not in get_args(Chosen):
        raise UsageError(f"--stages {stages}: there are {' and '.join(get_args(Chosen))}")
    if stages == "swap":
        if folder is not None:
            raise UsageError(f"--face-models {folder}: faces are found with --stages all; add it, or leave this out")
        return None
    if frame is None:
        raise UsageError("--stages all: is for whole frames; give their size, too, like --frame 1920x1080")
    for device in devices:
        if not getattr(device, "every_stage", False):
            raise UsageError(f"--stages all: {device.name} times the swap only; use local or ssh:USER@HOST")
    from mfs_edge.face import models

    try:
        found = models.find(Path(folder) if folder is not None else None)
    except MissingDependency as error:
        raise MissingDependency(
            "--stages all: the models that find faces are not there; fetch them with: mfs-edge face-models, or name "
            "their folder with --face-models DIR"
        ) from error
    return found.detector, found.mesh


def _pairs(maximum: int) -> int:
    if maximum < paired.Plan.min_pairs:
        raise UsageError(f"--max-pairs {maximum}: at least {paired.Plan.min_pairs} pairs are needed to decide")
    return maximum


@dataclass(frozen=True)
class _Outputs:
    """Where results go; the JSON first, as it is the record."""

    json: Path | None
    markdown: Path | None
    html: Path | None
    history: Path | None

    def check(self) -> None:
        """Before minutes of measuring: can they be written?"""
        for path in (self.json, self.markdown, self.html, self.history):
            if path is None:
                continue
            with files.writing(path):
                folder, room = path.is_dir(), path.absolute().parent.is_dir()
            if folder or not room:
                what = "is a folder" if folder else "its folder does not exist"
                raise UsageError(f"{path}: cannot be written ({what}); name a file in an existing folder")
        if self.html:
            page.template()

    def write(self, report: Report, folders: Sequence[Path]) -> None:
        if self.json:
            report.save(self.json)
        if self.markdown:
            files.write_text(self.markdown, summary.render(report))
        summary.to_github(report)
        if self.html:
            files.write_text(self.html, page.render(report, folders))
        if self.history and not report.partial:
            history.append(report, self.history)


def _devices(given: str | Sequence[str], options: Options) -> list[Device]:
    specs = (given,) if isinstance(given, str) else tuple(given)
    if len(set(specs)) != len(specs) or not specs:
        raise UsageError("--device: name each device once")
    return [open_device(spec, options) for spec in specs]


def _bases(heads: Sequence[Path], against: Path) -> dict[Path, Path]:
    """What each artefact is compared with: the one file named, or the folder's file of the same name."""
    bases = facts.artefacts((against,))
    if against.suffix in facts.suffixes():
        if len(heads) != 1:
            raise UsageError(
                f"--against {against}: is one artefact, but {len(heads)} were given; name a folder instead"
            )
        return {heads[0]: bases[0]}
    named = {base.name: base for base in bases}
    missing = [head.name for head in heads if head.name not in named]
    if missing:
        raise UsageError(f"--against {against}: has no {missing[0]}; compile the same targets for both")
    return {head: named[head.name] for head in heads}


def _switched(paths: Sequence[Path], packs: Sequence[PathLike], key: PathLike | None) -> dict[Path, dict[str, bytes]]:
    """Per artefact that a pack was made for, its files with that pack's identity in them; ``key`` opens sealed ones."""
    found: dict[Path, dict[str, bytes]] = {}
    for given in map(Path, packs):
        name = container.read(given, key).artefact
        alike = [path for path in paths if path.suffix == Path(name).suffix]  # the base may have been renamed
        fitting = [path for path in paths if path.name == name] or (alike if len(alike) == 1 else [])
        if not fitting or fitting[0] in found:
            why = (
                "another pack was given for it" if fitting else f"that is not among {', '.join(p.name for p in paths)}"
            )
            raise UsageError(f"--pack {given}: is for {name}, and {why}; give one pack for each artefact")
        found[fitting[0]] = filled(fitting[0], given, key)
    return found


def _judged(task: Task, limits: gate.Budget | None, stored: Report | None, path: Path, *, strict: bool) -> Report:
    """The report with all causes and notes; ``stored`` is the baseline in ``path``."""
    report, found = task.report(partial=bool(task.failures)), task.deterministic()
    trends: tuple[Trend, ...] = ()
    if limits:
        found += gate.check_budget(limits, report.entries)
    if stored:
        more, trends = gate.check_baseline(stored, path, report.entries)
        found += more
    causes = [*report.causes, *found.causes, *(cause for c in report.comparisons for cause in c.causes)]
    notes = [*report.notes, *found.notes]
    for comparison in report.comparisons:
        undecided = comparison.verdict in ("inconclusive", "too noisy")
        (causes if undecided and strict else notes).extend(comparison.notes)
    return report.model_copy(update={"trends": trends, "causes": tuple(causes), "notes": tuple(notes)})


def require_passed(report: Report) -> None:
    """Raises for a report with causes or failures; all lines but the last are the caller's to show.

    Raises:
        CheckFailed: a check said no.
        DeviceError: the checks passed, but a device could not be used.
    """
    if report.causes:
        raise CheckFailed(report.causes[-1])
    if report.failures:
        raise DeviceError(report.failures[-1])
