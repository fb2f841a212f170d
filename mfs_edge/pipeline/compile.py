"""From a checkpoint and an identity to verified artefacts: the data flow, top to bottom."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from mfs_edge import bundle, precisions
from mfs_edge.base import config
from mfs_edge.base.progress import Recorded, Steps
from mfs_edge.base.version import __version__
from mfs_edge.bundle.manifest import Manifest
from mfs_edge.fold import fold
from mfs_edge.load import checkpoint as checkpoints
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.pipeline import crowd, reading
from mfs_edge.pipeline.emit import Origin, emit
from mfs_edge.pipeline.plan import plan
from mfs_edge.sample import weights
from mfs_edge.target import Target
from mfs_edge.verify import judge, speed
from mfs_edge.verify.reference import reference_of

Weights = str | Path | Checkpoint | None


@dataclass(frozen=True)
class Result:
    """What one run wrote."""

    out: Path
    manifest: Manifest  # this run's artefacts; the file may record earlier ones too

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of any of the artefacts must know."""
        return tuple(dict.fromkeys(line for artefact in self.manifest.artefacts for line in artefact.warnings))

    @property
    def passed(self) -> bool:
        """No artefact failed its verification."""
        return all(artefact.verification.status != "failed" for artefact in self.manifest.artefacts)


def compile(
    *, identity: str | Path | Identity | None = None, identities: str | Path | Sequence[Identity] | None = None,
    target: str | Sequence[str] = "onnx", checkpoint: Weights = None,
    arcface: Weights = None, sha256: str | Sequence[str] = (), size: int = 224, precision: str | None = None,
    calibration: str | Path | None = None,
    io: str | None = None, optimize: int = 1, set: Mapping[str, Any] | Sequence[str] = (), out: str | Path = "build",
    overwrite: bool = False, min_psnr: float | None = None, verify: bool = True, steps: Steps | None = None,
) -> Result:  # fmt: skip
    """Fold an identity into a static IDN, emit it for each target, and prove every file.

    Args:
        identity: ``id.npy`` in any form of :func:`mfs_edge.load.identity.load`, or a loaded one.
        identities: instead, a folder of them, or loaded ones, whose base it is to be: what identities share is
            decided over all, and the files hold the first; "drawn" takes the demo's faces, with a warning.
        target: names, or "all" for every installed one.
        checkpoint: the IIN's, or ``FILE#NAME`` for one of several in a file; None is
            ``$MFS_EDGE_CHECKPOINT``, ``mfs-edge.toml``, or else the demo's, with a warning.
        arcface: needed only where the identity lacks its embedding, or is a picture.
        sha256: hashes that the checkpoint files must have, in any order; none leaves them unchecked.
        size: pixels, a multiple of 32.
        precision: "fp32", "fp16", "int8" or "int8-mixed"; None is each target's default.
        calibration: a folder of face crops or an ``.npz`` to quantise and balance with; None takes drawn faces.
        io: "float32", "uint8" or "image"; None is each target's default.
        optimize: 0 for the plain graph, 1 for all exact passes.
        set: options of single targets: {"TARGET.OPTION": value}, or strings TARGET.OPTION=VALUE.
        out: the folder for artefacts and ``manifest.json``; ``overwrite`` allows one that holds other files.
        min_psnr: dB that each output must reach; None is the default of precision and I/O.
        verify: False leaves the files unproven, and says so in the manifest.
        steps: told of progress.

    Raises:
        MfsEdgeError: one line saying what is wrong; nothing was written.
    """
    out, steps = Path(out), steps or Recorded()
    hashes = checkpoints.expected(sha256)
    crowd.check(identity, identities, optimize=optimize)
    jobs = plan(
        target=target, precision=precision, io=io, set=set, size=size, optimize=optimize, min_psnr=min_psnr, steps=steps
    )
    bundle.check_folder(out, overwrite=overwrite)
    from mfs_edge.graph import cost  # the plan has found onnx_ir

    iin = iin_of(checkpoint, hashes, steps)
    embedder = _arcface(arcface, hashes, steps)
    reading.check_used(hashes, iin, embedder)
    persons = crowd.gathered(identity, identities, embedder, steps)
    person = persons[0]
    with steps.step("fold identity and build graph"):
        base = precisions.Base.of([fold(iin, one) for one in persons], size=size, optimize=optimize)
    asked = dict.fromkeys(job.form for job in jobs)
    pictures = precisions.pictures(calibration, asked, size=size, steps=steps)
    graphs = {p: precisions.make(base, p, pictures, min_psnr=min_psnr, steps=steps) for p in asked}
    parameters = cost.count(base.model).parameters
    folded = base.folded[0] if base.folded else {}
    origin = Origin(
        iin, person, size=size, optimize=optimize, parameters=parameters, folded=folded, identities=len(persons),
        remarks=(crowd.WARNING,) if identities == crowd.DRAWN else (),
    )  # fmt: skip
    with bundle.staging(out, steps.note) as stage:
        artefacts = [emit(job, graphs[job.form], origin, stage, steps) for job in jobs]
        if verify:
            exams = judge.exams(graphs, reference_of(iin, person), pictures, size=size, steps=steps)
            written = list(zip(jobs, artefacts, strict=True))
            for job, made in written:
                speed.remark(made, job.target, job.options, base.model, stage, steps=steps)
            artefacts = [
                judge.prove(made, job.target, exams[job.form], stage, min_psnr=min_psnr, steps=steps)
                for job, made in written
            ]
        manifest = Manifest(versions=versions([job.target for job in jobs]), artefacts=tuple(artefacts))
        bundle.publish(stage, out, manifest)
    return Result(out, manifest)


def iin_of(given: Weights, hashes: Collection[str], steps: Steps) -> Checkpoint:
    """The IIN's: as given, where the settings say, or the demo's."""
    with steps.step("read checkpoint"):
        if isinstance(given, Checkpoint):
            loaded = given
        elif (path := config.checkpoint_path(given)) is not None:
            loaded = reading.read(path, expect="iin", sha256=hashes, steps=steps)
        else:
            loaded = weights.checkpoint("iin")
    if loaded.warning:
        steps.note(loaded.warning)
    return loaded


def _arcface(given: Weights, hashes: Collection[str], steps: Steps) -> Checkpoint | None:
    if given is None or isinstance(given, Checkpoint):
        return given
    with steps.step("read ArcFace"):
        return reading.read(given, expect="arcface", sha256=hashes, steps=steps)


def versions(targets: Sequence[Target]) -> dict[str, str]:
    """Of everything that took part and is installed as a distribution."""
    modules = ["numpy", "torch", "onnx", "onnx_ir"]
    modules += [module for kind in targets for module in (*kind.emit_needs, *kind.run_needs)]
    found = {"mfs-edge": __version__, "python": platform.python_version()}
    for module in dict.fromkeys(modules):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[module] = metadata.version(module)
    return found
