"""From a checkpoint and an identity to verified artefacts: the data flow, top to bottom."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from mfs_edge import bundle
from mfs_edge.base import config, images
from mfs_edge.base.errors import OutputError, UsageError
from mfs_edge.base.progress import Recorded, Steps
from mfs_edge.base.version import __version__
from mfs_edge.bundle import manifest as records
from mfs_edge.face import landmarks as face_landmarks
from mfs_edge.face.crop import arcface_input
from mfs_edge.load import checkpoint as checkpoints
from mfs_edge.load import identity as identities
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.networks import spec
from mfs_edge.pipeline.emit import emit
from mfs_edge.precisions import Graphs
from mfs_edge.target import EmitOptions, Target, check_supported, select
from mfs_edge.verify import speed as pace
from mfs_edge.verify.judge import Judge, prove

MAX_PSNR = 200.0


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
    calibration: str | Path | None = None,
    io: str | None = None,
    optimize: int = 1,
    out: str | Path = "build",
    overwrite: bool = False,
    min_psnr: float | None = None,
    min_ios: int | None = None,
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
        calibration: a folder of face crops or an ``.npz`` to quantise and balance with; None takes
            the drawn faces, with a warning where figures depend on it.
        io: "float32", "uint8" or "image"; None is each target's default.
        optimize: 0 for the plain graph, 1 for all exact passes.
        out: the folder for artefacts and ``manifest.json``.
        overwrite: write into a folder that holds other files.
        min_psnr: dB that each output must reach; None is the default of precision and I/O.
        min_ios: the oldest iOS that a Core ML package must run on; None is 16, or 17 for integers.
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
        graphs = Graphs(
            iin,
            person,
            size=size,
            optimize=optimize,
            calibration=Path(calibration) if calibration else None,
            min_psnr=min_psnr,
            steps=steps,
        )
    with bundle.staging(out) as stage:
        artefacts = []
        for target_, options in jobs:
            graphs.at(options.precision)  # balancing and quantising report steps of their own
            with steps.step(f"emit {target_.name} {options.precision}"):
                artefacts.append(emit(target_, options, graphs, stage))
            for warning in artefacts[-1].warnings[len(graphs.warnings_at(options.precision)) :]:
                steps.note(f"{artefacts[-1].file}: {warning}")
        if verify:
            judge = Judge(graphs, steps)
            for artefact, (target_, _) in zip(artefacts, jobs, strict=True):
                pace.remark(artefact, target_, graphs, stage, steps)
            artefacts = [prove(a, t, judge, stage, min_psnr) for a, (t, _) in zip(artefacts, jobs, strict=True)]
        manifest = records.Manifest(versions=_versions(jobs), artefacts=tuple(artefacts))
        bundle.publish(stage, out, manifest)
    return Result(out, manifest, tuple(dict.fromkeys(w for a in artefacts for w in a.warnings)))


Job = tuple[Target, EmitOptions]


def plan(
    *,
    target: str | Sequence[str],
    precision: str | None,
    io: str | None,
    min_ios: int | None,
    size: int,
    min_psnr: float | None,
    steps: Steps,
) -> list[Job]:
    """What to emit, checked before any work.

    Raises:
        UsageError: an option that cannot be used.
        MissingDependency: a target named outright is not installed.
    """
    spec.check_size(size)
    if min_psnr is not None and not 0 <= min_psnr <= MAX_PSNR:
        raise UsageError(f"--min-psnr {min_psnr:g} is not a level in dB; give a number from 0 to {MAX_PSNR:g}")
    names = (target,) if isinstance(target, str) else tuple(target)
    targets, skipped = select(names)
    for line in skipped:
        steps.note(line)
    jobs = [(t, _options(t, precision=precision, io=io, min_ios=min_ios)) for t in targets]
    offered = [(target_, options) for target_, options in jobs if _offered(target_, options, names, steps)]
    if not offered:
        raise UsageError(f"no target offers --precision {precision} with --io {io}; see mfs-edge doctor")
    return offered


def _options(target: Target, *, precision: str | None, io: str | None, min_ios: int | None) -> EmitOptions:
    """What is asked for, and the target's defaults for the rest."""
    chosen = precision or target.default_precision
    oldest = EmitOptions.default_min_ios(chosen) if min_ios is None else min_ios
    return EmitOptions(precision=chosen, io=io or target.default_io, min_ios=oldest)


def _offered(target: Target, options: EmitOptions, names: Sequence[str], steps: Steps) -> bool:
    """Whether ``target`` has what is asked for; "all" leaves it out with a note, its own name is an error."""
    try:
        check_supported(target, options)
    except UsageError as error:
        if target.name in names or "all" not in names:
            raise
        steps.note(f"skipped {target.name}: {error}")
        return False
    return True


def _checkpoint(given: str | Path | Checkpoint | None, steps: Steps) -> Checkpoint:
    if isinstance(given, Checkpoint):
        loaded = given
    elif (path := config.checkpoint_path(given)) is not None:
        loaded = checkpoints.load(path, expect="iin")
    else:
        from mfs_edge.sample import weights

        loaded = weights.checkpoint("iin")
    if loaded.warning:
        steps.note(loaded.warning)
    return loaded


def _identity(given: str | Path | Identity, arcface: str | Path | Checkpoint | None, steps: Steps) -> Identity:
    if isinstance(given, Identity):
        return given
    if arcface is not None and not isinstance(arcface, Checkpoint):
        arcface = checkpoints.load(arcface, expect="arcface")
    loaded = identities.load(given, None if arcface is None else Embedder(arcface))
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
    points = face_landmarks.read(landmarks) if landmarks is not None else None
    crop = arcface_input(images.read_rgb(photo), str(photo), points)
    with steps.step("read ArcFace"):
        network = Embedder(checkpoints.load(arcface, expect="arcface"))
    with steps.step("run ArcFace"):
        found = network(crop)
    identities.save(found, out)
    return found


def _versions(jobs: Sequence[Job]) -> dict[str, str]:
    """Of everything that took part and is installed as a distribution."""
    modules = ["numpy", "torch", "onnx", "onnx_ir"]
    modules += [module for target, _ in jobs for module in (*target.emit_needs, *target.run_needs)]
    found = {"mfs-edge": __version__, "python": platform.python_version()}
    for module in dict.fromkeys(modules):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[module] = metadata.version(module)
    return found
