"""One graph, one target, one artefact: written, and described from what was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge import bundle
from mfs_edge.base import files
from mfs_edge.base.artefact import Artefact
from mfs_edge.base.errors import LoweringError
from mfs_edge.base.progress import Steps
from mfs_edge.base.version import __version__
from mfs_edge.bundle.manifest import ArtefactRecord, Source, Verification
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.pack.runs import located
from mfs_edge.pipeline.plan import Job
from mfs_edge.precisions import Graph
from mfs_edge.target import Target

if TYPE_CHECKING:
    import numpy as np

    from mfs_edge.base.runs import Run

NOTICE = (
    "synthetic media: obtain consent, disclose; this file is biometric data: whoever has the checkpoint can compute "
    "the face embedding of the person in it; keep it like a photograph, delete it when consent ends"
)


@dataclass(frozen=True)
class Origin:
    """Where a graph comes from: what an artefact and its record say of it."""

    checkpoint: Checkpoint
    identity: Identity
    size: int  # pixels
    optimize: int
    parameters: int  # of the float graph
    folded: Mapping[str, np.ndarray] = field(default_factory=dict)  # "identity-local", where that is emitted
    identities: int = 1  # that what is shared was decided over
    remarks: tuple[str, ...] = ()  # on those

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of any artefact must know."""
        return tuple(
            filter(None, [self.checkpoint.warning, *self.checkpoint.notes, *self.identity.notes, *self.remarks])
        )

    def metadata(self, precision: str) -> dict[str, str]:
        """What the file itself says. The identity's hash is for tracing consent: the weights hold the person anyway."""
        entries = {
            "mfs_edge_version": __version__,
            "identity_sha256": self.identity.sha256,
            "checkpoint": self.checkpoint.source,
            "checkpoint_sha256": self.checkpoint.sha256,
            "precision": precision,
            "notice": NOTICE,
        }
        return entries | ({"warning": self.checkpoint.warning} if self.checkpoint.warning else {})


def emit(job: Job, graph: Graph, origin: Origin, stage: Path, steps: Steps) -> ArtefactRecord:
    """Write one artefact into ``stage`` and describe it from what was written.

    Raises:
        LoweringError: the target has no counterpart for a node.
        OutputError: the disk is full or read-only.
    """
    target, options = job.target, job.options
    name = f"idn-{origin.size}-{job.precision}{target.suffix}"
    with steps.step(f"emit {target.name} {job.precision}"):
        with files.writing(stage / name):
            written = _write(job, graph, origin, stage, name)
        program = target.read(written.path)
        runs, lost = _runs(target, written.path, graph.owned(origin.folded), origin.identity.sha256)
        base = f"idn-{origin.size}-{job.form}.base" if runs else ""
        base_sha256 = _coded(graph, bundle.beside(stage) / base) if base else ""
    own = (*target.remarks(program), *lost)
    for warning in own:
        steps.note(f"{name}: {warning}")
    return ArtefactRecord(
        file=name,
        files=written.sha256s,
        bytes=written.size,
        target=target.name,
        precision=job.precision,
        io=options.io,
        size=origin.size,
        optimize=origin.optimize,
        options=options.own.model_dump() if options.own else {},
        checkpoint=Source(name=origin.checkpoint.source, sha256=origin.checkpoint.sha256),
        identity_sha256=origin.identity.sha256,
        inputs=program.takes,
        outputs=program.gives,
        operators=program.operators,
        parameters=origin.parameters,
        macs=graph.macs,
        identities=origin.identities,
        base=base,
        base_sha256=base_sha256,
        runs=runs,
        oldest_runtime=target.oldest_runtime(options),
        arithmetic=graph.arithmetic,
        verification=Verification(status="not verified", verified="no", run="not run: switched off"),
        warnings=(*origin.warnings, *graph.warnings, *own),
    )


def _runs(
    target: Target, path: Path, owned: Mapping[str, np.ndarray], sha256: str
) -> tuple[tuple[Run, ...], tuple[str, ...]]:
    """Where the identity's bytes lie; or nothing, and why the artefact takes no packs."""
    try:
        return (located(target, path, owned, sha256) if owned else ()), ()
    except LoweringError as error:  # weights of zeros, say, are anywhere: the artefact itself is sound
        return (), (f"takes no packs: {error}",)


def _coded(graph: Graph, path: Path) -> str:
    """How the base stores an identity, as a file; its hash. Artefacts of one precision share it."""
    if not path.exists() and graph.coding is not None:
        path.parent.mkdir(exist_ok=True)
        with files.writing(path):
            graph.coding.save(path)
    return files.sha256(path)


def _write(job: Job, graph: Graph, origin: Origin, stage: Path, name: str) -> Artefact:
    """Emit in a folder of its own, so that whatever appears there is the artefact; then move it up."""
    folder = stage / job.target.name
    folder.mkdir()
    options = replace(job.options, metadata=origin.metadata(job.precision))
    job.target.emit(graph.model, folder / name, options)
    written = Artefact.alone_in(folder, name).move(stage)
    folder.rmdir()
    return written
