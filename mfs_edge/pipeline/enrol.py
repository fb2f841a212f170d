"""From two checkpoints to a verified artefact that reads an identity: the data flow, top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge import bundle
from mfs_edge.base import extras, files
from mfs_edge.base.artefact import Artefact
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.base.progress import Recorded, Steps
from mfs_edge.base.version import __version__
from mfs_edge.bundle import manifest as manifests
from mfs_edge.bundle.manifest import ArtefactRecord, Manifest, Source, Verification
from mfs_edge.load import checkpoint as checkpoints
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.pack.caution import caution
from mfs_edge.pipeline import reading
from mfs_edge.pipeline.compile import Result, Weights, iin_of, versions
from mfs_edge.pipeline.plan import MAX_PSNR
from mfs_edge.target import ENROL, EmitOptions, Target, select

if TYPE_CHECKING:
    import onnx_ir as ir

    from mfs_edge.enrolment import Plan

PAYLOADS = {"float32": "fp32", "float16": "fp16", "int8": "int8"}  # what a payload's numbers are, as a precision
NOTICE = "this file reads identities from faces: what it gives is biometric data, to be kept like a photograph"


@dataclass(frozen=True)
class _Origin:
    """What an artefact and its record say of where it comes from."""

    arcface: Checkpoint
    iin: Checkpoint
    precision: str
    fits: Source  # the base's artefact that payloads are for
    caution: str  # of that base

    @property
    def warnings(self) -> tuple[str, ...]:
        told = [line for c in (self.iin, self.arcface) for line in (c.warning, *c.notes)]
        return tuple(dict.fromkeys(line for line in (*told, self.caution) if line))

    @property
    def metadata(self) -> dict[str, str]:
        entries = {
            "mfs_edge_version": __version__,
            "task": ENROL,
            "arcface": self.arcface.source,
            "arcface_sha256": self.arcface.sha256,
            "checkpoint": self.iin.source,
            "checkpoint_sha256": self.iin.sha256,
            "precision": self.precision,
            "payload_for": self.fits.name,
            "payload_for_sha256": self.fits.sha256,
            "notice": NOTICE,
        }
        return entries | ({"warning": self.iin.warning} if self.iin.warning else {})


def enrol(
    *, base: str | Path = "build", artefact: str | None = None, arcface: str | Path | Checkpoint,
    checkpoint: Weights = None, target: str | Sequence[str] = "onnx", precision: str = "fp32",
    sha256: str | Sequence[str] = (), out: str | Path = "enrol", overwrite: bool = False,
    min_psnr: float | None = None, verify: bool = True, steps: Steps | None = None,
) -> Result:  # fmt: skip
    """Emit what reads an identity on a device: an aligned face crop in, the payload of a base's pack out.

    Args:
        base: the folder of a compiled base, whose packs the payload is for.
        artefact: the one of it, by its file's name, where they differ in how an identity is stored.
        arcface: ArcFace's checkpoint, or ``FILE#NAME`` for one of several in a file.
        checkpoint: the IIN's, that the base was compiled from; None as for :func:`mfs_edge.compile`.
        target: names, or "all" for every installed one.
        precision: "fp32", "fp16" or "int8": of the weights; it computes in float32.
        sha256: hashes that the checkpoint files must have, in any order; none leaves them unchecked.
        out: the folder for artefacts and ``manifest.json``; ``overwrite`` allows one that holds other files.
        min_psnr: dB that the swapped pictures must reach on average; None is the precision's default, or that of the
            payload's numbers, if they are coarser.
        verify: False leaves the files unproven, and says so in the manifest.
        steps: told of progress.

    Raises:
        MfsEdgeError: one line saying what is wrong; nothing was written.
    """
    base, out, steps = Path(base), Path(out), steps or Recorded()
    hashes = checkpoints.expected(sha256)
    targets = _targets(target, precision, min_psnr, steps)
    recorded = manifests.read(base / bundle.MANIFEST)
    bundle.check_folder(out, overwrite=overwrite)
    iin = iin_of(checkpoint, hashes, steps)
    _check_base(base, recorded, iin)
    network = _arcface(arcface, hashes, steps)
    reading.check_used(hashes, iin, network)
    fits, plan = _plan(base, recorded, artefact)
    origin = _Origin(network, iin, precision, Source(name=fits.file, sha256=fits.files[fits.file]), caution(fits))
    if origin.caution:
        steps.note(origin.caution)
    with steps.step("build the enrolment graph"):
        model = _graph(origin, plan)
    with bundle.staging(out, steps.note) as stage:
        artefacts = [_emit(kind, model, origin, stage, steps) for kind in targets]
        if verify:
            artefacts = _proven(artefacts, targets, origin, plan, stage, min_psnr=min_psnr, steps=steps)
        made = Manifest(versions=versions(targets), artefacts=tuple(artefacts))
        bundle.publish(stage, out, made)
    return Result(out, made)


def _targets(asked: str | Sequence[str], precision: str, min_psnr: float | None, steps: Steps) -> list[Target]:
    names = (asked,) if isinstance(asked, str) else tuple(asked)
    extras.require("onnx_ir", "compile")
    found, skipped = select(names)
    offered = [kind for kind in found if precision in kind.enrolment]
    for kind in found:
        if kind not in offered:
            offer = ", ".join(kind.enrolment) or "none"
            line = f"target {kind.name} has no enrolment with --precision {precision}; it offers {offer}"
            if kind.name in names or "all" not in names:
                raise UsageError(line)
            skipped.append(f"skipped {kind.name}: {line}")
    if min_psnr is not None and not 0 <= min_psnr <= MAX_PSNR:
        raise UsageError(f"--min-psnr {min_psnr:g} is not a level in dB; give a number from 0 to {MAX_PSNR:g}")
    for line in skipped:
        steps.note(line)
    if not offered:
        raise UsageError(f"no target offers enrolment with --precision {precision}; see mfs-edge doctor")
    return offered


def _check_base(base: Path, recorded: Manifest, iin: Checkpoint) -> None:
    """A payload fits artefacts of the very checkpoint that it was made with."""
    artefacts = [a for a in recorded.artefacts if a.task != ENROL]
    if not artefacts:
        raise InputError(f"{base}: holds no compiled base; make one with: mfs-edge compile --out {base}")
    others = {a.checkpoint.sha256: a.checkpoint.name for a in artefacts if a.checkpoint.sha256 != iin.sha256}
    if len(others) == len({a.checkpoint.sha256 for a in artefacts}):
        digest, name = next(iter(others.items()))
        raise InputError(
            f"{base}: was compiled from {name} (sha256 {digest[:12]}), not from {iin.source} (sha256 "
            f"{iin.sha256[:12]}); give the base's own checkpoint"
        )


def _arcface(given: str | Path | Checkpoint, hashes: frozenset[str], steps: Steps) -> Checkpoint:
    if isinstance(given, Checkpoint):
        return given
    with steps.step("read ArcFace"):
        return reading.read(given, expect="arcface", sha256=hashes, steps=steps)


def _plan(base: Path, recorded: Manifest, wanted: str | None) -> tuple[ArtefactRecord, Plan]:
    """The artefact of a base that payloads are for, and how its packs are laid out.

    Raises:
        UsageError: several artefacts differ in that, and none of them is named.
        InputError: none takes packs.
    """
    from mfs_edge import enrolment
    from mfs_edge.pack.base import coding_of, taking_packs

    taking = taking_packs(base, recorded.artefacts)
    names = ", ".join(record.file for record in taking)
    chosen = [record for record in taking if wanted in (None, record.file)]
    if not chosen:
        raise UsageError(f"--artefact {wanted}: {base} holds no such artefact that takes packs; it has {names}")
    first = chosen[0]
    if any(_laid_out(record) != _laid_out(first) for record in chosen):
        raise UsageError(f"{base}: its artefacts ({names}) take different payloads; choose one with --artefact")
    return first, enrolment.of_base(coding_of(base, first), first.runs, first.file)


def _laid_out(record: ArtefactRecord) -> tuple[str, list[tuple[str, str, tuple[int, ...]]]]:
    """What a payload for the artefact depends on."""
    held = sorted(record.runs, key=lambda run: (run.file, run.offset))
    return record.base, [(run.tensor, run.dtype, run.axes) for run in held]


def _graph(origin: _Origin, plan: Plan) -> ir.Model:
    from mfs_edge import enrolment
    from mfs_edge.enrolment import storage

    trunk = enrolment.trunk(origin.arcface.tensors, origin.iin.tensors)
    return storage.store(enrolment.coded(trunk, plan), origin.precision)


def _emit(kind: Target, model: ir.Model, origin: _Origin, stage: Path, steps: Steps) -> ArtefactRecord:
    """Written into ``stage``, and described from what was written."""
    from mfs_edge.enrolment.build import SIDE
    from mfs_edge.graph import cost

    name = f"enrol-{origin.precision}{kind.suffix}"
    folder = stage / kind.name
    folder.mkdir()
    with steps.step(f"emit {kind.name} {origin.precision}"):
        options = EmitOptions(origin.precision, task=ENROL, metadata=origin.metadata)
        with files.writing(stage / name):
            kind.emit(model, folder / name, replace(options, own=kind.options().resolved("fp32")))
            written = Artefact.alone_in(folder, name).move(stage)
        folder.rmdir()
        program = kind.read(written.path)
    counted = cost.count(model)
    return ArtefactRecord(
        file=name,
        files=written.sha256s,
        bytes=written.size,
        target=kind.name,
        precision=origin.precision,
        io=options.io,
        size=SIDE,
        optimize=1,
        task="enrol",
        checkpoint=Source(name=origin.iin.source, sha256=origin.iin.sha256),
        arcface=Source(name=origin.arcface.source, sha256=origin.arcface.sha256),
        fits=origin.fits,
        identity_sha256="",
        inputs=program.takes,
        outputs=program.gives,
        operators=program.operators,
        parameters=counted.parameters,
        macs=counted.macs,
        verification=Verification(status="not verified", verified="no", run="not run: switched off"),
        warnings=origin.warnings,
    )


def _proven(
    artefacts: Sequence[ArtefactRecord], targets: Sequence[Target], origin: _Origin, plan: Plan, stage: Path, *,
    min_psnr: float | None, steps: Steps,
) -> list[ArtefactRecord]:  # fmt: skip
    from functools import partial

    from mfs_edge import enrolment
    from mfs_edge.verify import enrolment as judge

    if min_psnr is None:  # rounded numbers are no nearer than that, however exactly they were computed
        min_psnr = min(judge.MIN_PSNR[origin.precision], judge.MIN_PSNR[PAYLOADS[plan.dtype]])
    with steps.step("run the torch reference on drawn faces"):
        exam = judge.examined(origin.arcface, origin.iin, partial(enrolment.decoded, plan=plan))
    return [
        judge.prove(made, kind, exam, stage, min_psnr=min_psnr, steps=steps)
        for made, kind in zip(artefacts, targets, strict=True)
    ]
