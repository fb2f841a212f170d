"""What a compile will emit, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfs_edge.base import extras
from mfs_edge.base.errors import UsageError
from mfs_edge.base.progress import Steps
from mfs_edge.networks import spec
from mfs_edge.options import TargetOptions
from mfs_edge.precisions import INTEGER, PRODUCTS
from mfs_edge.target import EmitOptions, Target, get, select

MAX_PSNR = 200.0


@dataclass(frozen=True)
class Job:
    """One artefact to be."""

    target: Target
    options: EmitOptions  # without metadata

    @property
    def precision(self) -> str:
        return self.options.precision

    @property
    def form(self) -> str:
        """What ``precisions.make`` calls the graph that it is emitted from; most targets share one."""
        return PRODUCTS if self.precision == "int8" and self.target.products else self.precision


def plan(
    *,
    target: str | Sequence[str],
    precision: str | None,
    io: str | None,
    set: Mapping[str, Any] | Sequence[str],
    size: int,
    optimize: int,
    min_psnr: float | None,
    steps: Steps,
) -> list[Job]:
    """One job per target; arguments as of :func:`mfs_edge.compile`.

    Raises:
        UsageError: an option that cannot be used.
        MissingDependency: a target named outright is not installed.
    """
    names = (target,) if isinstance(target, str) else tuple(target)
    own = own_options(set)
    targets, skipped = select(names)
    for line in skipped:
        steps.note(line)
    _check(size=size, min_psnr=min_psnr)
    jobs = [_job(t, precision or t.default_precision, io or t.default_io, own.get(t.name)) for t in targets]
    offered = [job for job in jobs if _offered(job, names, steps)]
    if not offered:
        raise UsageError(f"no target offers --precision {precision} with --io {io}; see mfs-edge doctor")
    _check_meant(own, offered, names)
    for job in offered:
        if job.precision in INTEGER and not optimize:
            raise UsageError(f"--precision {job.precision} quantises the optimised graph; use it with --optimize 1")
    return offered


def own_options(given: Mapping[str, Any] | Sequence[str]) -> dict[str, TargetOptions]:
    """What ``--set`` asks for, by target; a target that nothing is set for is left out.

    Args:
        given: "TARGET.OPTION" -> value, or strings "TARGET.OPTION=VALUE".

    Raises:
        UsageError: there is no such target, option or value; the message says what is offered.
    """
    pairs = given.items() if isinstance(given, Mapping) else [pair.partition("=")[::2] for pair in given]
    asked: dict[str, dict[str, Any]] = {}
    for key, value in pairs:
        name, dot, option = key.partition(".")
        if not dot or value == "":
            raise UsageError(f"--set {key}: is not complete; write TARGET.OPTION=VALUE")
        asked.setdefault(name, {})[option] = value
    return {name: get(name).options.parsed(name, options) for name, options in asked.items()}


def _check(*, size: int, min_psnr: float | None) -> None:
    extras.require("onnx_ir", "compile")
    spec.check_size(size)
    if min_psnr is not None and not 0 <= min_psnr <= MAX_PSNR:
        raise UsageError(f"--min-psnr {min_psnr:g} is not a level in dB; give a number from 0 to {MAX_PSNR:g}")


def _job(target: Target, precision: str, io: str, own: TargetOptions | None) -> Job:
    return Job(target, EmitOptions(precision, io, own=(own or target.options()).resolved(precision)))


def _offered(job: Job, names: Sequence[str], steps: Steps) -> bool:
    """Whether the target has what is asked for; "all" leaves it out with a note, its own name is an error."""
    try:
        job.target.check(job.options)
    except UsageError as error:
        if job.target.name in names or "all" not in names:
            raise
        steps.note(f"skipped {job.target.name}: {error}")
        return False
    return True


def _check_meant(own: Mapping[str, TargetOptions], jobs: Sequence[Job], names: Sequence[str]) -> None:
    """Nothing is set for a target that is not compiled for, unless "all" left it out."""
    for name in own.keys() - {job.target.name for job in jobs}:
        if "all" not in names:
            raise UsageError(
                f"--set {name}.{next(iter(own[name].model_fields_set))}: add --target {name}, or leave it out"
            )
