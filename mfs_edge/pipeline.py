"""From a checkpoint and an identity to verified artefacts: the data flow, top to bottom."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge import __version__, bundle, config, files, images
from mfs_edge import checkpoint as checkpoints
from mfs_edge import identity as identities
from mfs_edge import manifest as records
from mfs_edge.checkpoint import Checkpoint
from mfs_edge.errors import OutputError, UsageError
from mfs_edge.identity import Identity
from mfs_edge.steps import Recorded, Steps
from mfs_edge.target import PRECISIONS, EmitOptions, Target, check_supported, select

if TYPE_CHECKING:
    import onnx_ir as ir

    from mfs_edge.graph.cost import Cost
    from mfs_edge.verify import Outputs

MAX_PSNR = 200.0
FAINT_MASK = 0.05


@dataclass(frozen=True)
class Result:
    """What one run wrote."""

    out: Path
    manifest: records.Manifest  # this run's artefacts; the file may record earlier ones too
    warnings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """No artefact failed its verification."""
        return all(artefact.verification.status != "failed" for artefact in self.manifest.artefacts)


def compile(
    *,
    identity: str | Path | Identity,
    target: str | Sequence[str] = "onnx",
    checkpoint: str | Path | Checkpoint | None = None,
    arcface: str | Path | Checkpoint | None = None,
    size: int = 224,
    precision: str | None = None,
    io: str | None = None,
    optimize: int = 1,
    out: str | Path = "build",
    overwrite: bool = False,
    min_psnr: float | None = None,
    min_ios: int = 16,
    verify: bool = True,
    steps: Steps | None = None,
) -> Result:
    """Fold an identity into a static IDN, emit it for each target, and prove every file.

    Args:
        identity: ``id.npy`` in any form of :func:`mfs_edge.identity.load`, or a loaded one.
        target: names, or "all" for every installed one.
        checkpoint: the IIN's; None looks at ``$MFS_EDGE_CHECKPOINT``, ``mfs-edge.toml``, and
            then takes the embedded demo weights, with a warning.
        arcface: needed only where the identity lacks its embedding, or is a picture.
        size: pixels, a multiple of 32.
        precision: "fp32", ...; None is each target's default.
        io: "float32", "uint8" or "image"; None is each target's default.
        optimize: 0 for the plain graph, 1 for all exact passes.
        out: the folder for artefacts and ``manifest.json``.
        overwrite: write into a folder that holds other files.
        min_psnr: dB that each output must reach; None is the default of precision and I/O.
        min_ios: the oldest iOS that a Core ML package must run on.
        verify: False leaves the files unproven, and says so in the manifest.
        steps: told of progress.

    Raises:
        MfsEdgeError: one line saying what is wrong; nothing was written.
    """
    steps = steps or Recorded()
    out = Path(out)
    jobs = plan(target=target, precision=precision, io=io, min_ios=min_ios, size=size, min_psnr=min_psnr, steps=steps)
    bundle.check_folder(out, overwrite=overwrite)
    with steps.step("read checkpoint"):
        iin = _checkpoint(checkpoint, steps)
    with steps.step("read identity"):
        person = _identity(identity, arcface, steps)
    with steps.step("fold identity and build graph"):
        graphs = Graphs(iin, person, size=size, optimize=optimize)
    with bundle.staging(out) as stage:
        artefacts = []
        for target_, options in jobs:
            with steps.step(f"emit {target_.name} {options.precision}"):
                artefacts.append(_emit(target_, options, graphs, stage))
            for warning in artefacts[-1].warnings[len(graphs.warnings) :]:
                steps.note(f"{artefacts[-1].file}: {warning}")
        if verify:
            judge = Judge(graphs, steps)
            artefacts = [_prove(a, t, judge, stage, min_psnr) for a, (t, _) in zip(artefacts, jobs, strict=True)]
        manifest = records.Manifest(versions=_versions(jobs), artefacts=tuple(artefacts))
        bundle.publish(stage, out, manifest)
    return Result(out, manifest, tuple(dict.fromkeys(w for a in artefacts for w in a.warnings)))


Job = tuple[Target, EmitOptions]


def plan(
    *,
    target: str | Sequence[str],
    precision: str | None,
    io: str | None,
    min_ios: int,
    size: int,
    min_psnr: float | None,
    steps: Steps,
) -> list[Job]:
    """What to emit, checked before any work.

    Raises:
        UsageError: an option that cannot be used.
        MissingDependency: a target named outright is not installed.
    """
    from mfs_edge.graph import build

    build.check_size(size)
    if min_psnr is not None and not 0 <= min_psnr <= MAX_PSNR:
        raise UsageError(f"--min-psnr {min_psnr:g} is not a level in dB; give a number from 0 to {MAX_PSNR:g}")
    targets, skipped = select((target,) if isinstance(target, str) else tuple(target))
    for line in skipped:
        steps.note(line)
    jobs = [
        (t, EmitOptions(precision=precision or t.default_precision, io=io or t.default_io, min_ios=min_ios))
        for t in targets
    ]
    for target_, options in jobs:
        check_supported(target_, options)
    return jobs


def _checkpoint(given: str | Path | Checkpoint | None, steps: Steps) -> Checkpoint:
    if isinstance(given, Checkpoint):
        loaded = given
    elif (path := config.checkpoint_path(given)) is not None:
        loaded = checkpoints.load(path, expect="iin")
    else:
        from mfs_edge.demo import weights

        loaded = weights.checkpoint("iin")
    if loaded.warning:
        steps.note(loaded.warning)
    return loaded


def _identity(given: str | Path | Identity, arcface: str | Path | Checkpoint | None, steps: Steps) -> Identity:
    if isinstance(given, Identity):
        return given
    if arcface is not None and not isinstance(arcface, Checkpoint):
        arcface = checkpoints.load(arcface, expect="arcface")
    loaded = identities.load(given, arcface)
    for note in loaded.notes:
        steps.note(note)
    return loaded


def identify(
    photo: Path, *, arcface: Path, landmarks: Path | None, out: Path, overwrite: bool, steps: Steps
) -> Identity:
    """Read an identity from a picture and write it to ``out``.

    Raises:
        MfsEdgeError: one line saying what is wrong; nothing was written.
    """
    if out.suffix != ".npy":
        raise UsageError(f"{out}: an identity is a .npy file; name it so")
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: exists; choose another -o, or add --overwrite to replace it")
    points = identities.read_landmarks(landmarks) if landmarks is not None else None
    crop = identities.arcface_input(images.read_rgb(photo), str(photo), points)
    with steps.step("read ArcFace"):
        network = identities.Embedder(checkpoints.load(arcface, expect="arcface"))
    with steps.step("run ArcFace"):
        found = network(crop)
    identities.save(found, out)
    return found


class Graphs:
    """The folded graph of one identity, in each precision that a target asks for."""

    def __init__(self, checkpoint: Checkpoint, identity: Identity, *, size: int, optimize: int) -> None:
        from mfs_edge.fold import fold
        from mfs_edge.graph import build, cost, passes

        self.checkpoint = checkpoint
        self.identity = identity
        self.size = size
        self.optimize = optimize
        plain = build.build(fold(checkpoint, identity).weights(), size=size)
        self.fp32 = passes.optimise(plain, level=optimize)
        self.cost: Cost = cost.count(self.fp32)
        self.warnings = tuple(filter(None, [checkpoint.warning, *identity.notes]))
        self._made = {"fp32": self.fp32}

    def at(self, precision: str) -> ir.Model:
        """The graph to emit at ``precision``, made once; a backend must not change it."""
        if precision not in self._made:
            self._made[precision] = self._make(precision)
        return self._made[precision]

    def _make(self, precision: str) -> ir.Model:
        from mfs_edge.graph import passes

        if precision == "fp16":  # so that whatever computes in half survives
            return passes.balance(self.fp32.clone())
        raise UsageError(f"precision {precision!r} is unknown; there are {', '.join(PRECISIONS)}")


def _emit(target: Target, options: EmitOptions, graphs: Graphs, stage: Path) -> records.Artefact:
    """Write one artefact into ``stage`` and describe it from what was written."""
    name = f"idn-{graphs.size}-{options.precision}{target.suffix}"
    with files.writing(stage / name):
        written = _write(target, options, graphs, stage, name)
    description = target.describe(stage / name)
    return records.Artefact(
        file=name,
        files={member: files.sha256(stage / member) for member in written},
        bytes=sum(files.size_of(stage / member) for member in written),
        target=target.name,
        precision=options.precision,
        io=options.io,
        size=graphs.size,
        optimize=graphs.optimize,
        checkpoint=records.Source(name=graphs.checkpoint.source, sha256=graphs.checkpoint.sha256),
        identity_sha256=graphs.identity.sha256,
        inputs=tuple(records.Tensor(**vars(t)) for t in description.inputs),
        outputs=tuple(records.Tensor(**vars(t)) for t in description.outputs),
        operators=dict(description.operators),
        parameters=graphs.cost.parameters,
        macs=graphs.cost.macs,
        verification=records.Verification(status="not verified", verified="no", run="not run: switched off"),
        warnings=(*graphs.warnings, *description.details.get("warnings", ())),
    )


def _write(target: Target, options: EmitOptions, graphs: Graphs, stage: Path, name: str) -> list[str]:
    """Emit in a folder of its own, so that whatever appears there is the artefact; then move it up."""
    folder = stage / target.name
    folder.mkdir()
    target.emit(graphs.at(options.precision), folder / name, replace(options, metadata=_metadata(graphs, options)))
    written = sorted(member.name for member in folder.iterdir())
    for member in written:
        (folder / member).rename(stage / member)
    folder.rmdir()
    return written


def _metadata(graphs: Graphs, options: EmitOptions) -> dict[str, str]:
    """What the file itself says of its origin; the identity by hash only."""
    entries = {
        "mfs_edge_version": __version__,
        "identity_sha256": graphs.identity.sha256,
        "checkpoint": graphs.checkpoint.source,
        "checkpoint_sha256": graphs.checkpoint.sha256,
        "precision": options.precision,
        "notice": "synthetic media: obtain consent, disclose",
    }
    return entries | ({"warning": graphs.checkpoint.warning} if graphs.checkpoint.warning else {})


class Judge:
    """The reference outputs, computed once for all artefacts."""

    def __init__(self, graphs: Graphs, steps: Steps) -> None:
        from mfs_edge import verify

        self.steps = steps
        with steps.step("run the torch reference"):
            run = verify.reference(graphs.checkpoint, graphs.identity)
            self.images = verify.inputs(graphs.size)
            self.expected: list[Outputs] = [run(image) for image in self.images]
        if max(float(outputs["mask"].max()) for outputs in self.expected) < FAINT_MASK:
            steps.note(
                f"the reference masks nothing on any test image at {graphs.size} px (it finds no face it knows): "
                "the swapped picture is then the input, and agreement on it says little"
            )


def _prove(
    artefact: records.Artefact, target: Target, judge: Judge, stage: Path, min_psnr: float | None
) -> records.Artefact:
    """Execute the written file, compare it with the reference, and reject it if it is too far off."""
    from mfs_edge import verify

    path = stage / artefact.file
    unrunnable = target.unrunnable()
    with judge.steps.step(f"verify {artefact.file}"):
        runner = target.load(path) if unrunnable is None else target.evaluator(path)
        found = verify.compare(runner, judge.images, judge.expected) if runner is not None else None
    if unrunnable is not None:
        judge.steps.note(f"{artefact.file}: {unrunnable}" + ("; evaluated operation by operation" if found else ""))
    if found is None:
        verification = records.Verification(status="not verified", verified="no", run=str(unrunnable))
        return artefact.model_copy(update={"verification": verification})
    threshold = verify.default_min_psnr(artefact.precision, artefact.io) if min_psnr is None else min_psnr
    verification = records.Verification(
        status="passed" if verify.passes(found, threshold) else "failed",
        verified="runtime" if unrunnable is None else "evaluator",
        run=unrunnable or " / ".join(target.run_needs),
        images=len(judge.images),
        min_psnr=threshold,
        **{name: records.Fidelity(**vars(fidelity)) for name, fidelity in found.items()},
    )
    proven = artefact.model_copy(update={"verification": verification})
    return _reject(proven, stage) if verification.status == "failed" else proven


def _reject(artefact: records.Artefact, stage: Path) -> records.Artefact:
    """Keep what failed, under a name that nobody ships by accident."""
    for name in artefact.files:
        (stage / name).rename(stage / f"{name}{bundle.REJECTED}")
    renamed = {f"{name}{bundle.REJECTED}": digest for name, digest in artefact.files.items()}
    return artefact.model_copy(update={"file": f"{artefact.file}{bundle.REJECTED}", "files": renamed})


def _versions(jobs: Sequence[Job]) -> dict[str, str]:
    """Of everything that took part and is installed as a distribution."""
    modules = ["numpy", "torch", "onnx", "onnx_ir"]
    modules += [module for target, _ in jobs for module in (*target.emit_needs, *target.run_needs)]
    found = {"mfs-edge": __version__, "python": platform.python_version()}
    for module in dict.fromkeys(modules):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[module] = metadata.version(module)
    return found
