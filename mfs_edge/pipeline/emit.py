"""One graph, one target, one artefact: written, and described from what was written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mfs_edge.base import files
from mfs_edge.base.version import __version__
from mfs_edge.bundle import manifest as records
from mfs_edge.precisions import Graphs
from mfs_edge.target import EmitOptions, Target


def emit(target: Target, options: EmitOptions, graphs: Graphs, stage: Path) -> records.Artefact:
    """Write one artefact into ``stage`` and describe it from what was written."""
    name = f"idn-{graphs.size}-{options.precision}{target.suffix}"
    with files.writing(stage / name):
        written = _write(target, options, graphs, stage, name)
    program = target.read(stage / name)
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
        inputs=tuple(records.Tensor(**vars(t)) for t in program.takes),
        outputs=tuple(records.Tensor(**vars(t)) for t in program.gives),
        operators=program.operators,
        parameters=graphs.cost.parameters,
        macs=graphs.macs_at(options.precision),
        verification=records.Verification(status="not verified", verified="no", run="not run: switched off"),
        warnings=(*graphs.warnings_at(options.precision), *target.remarks(program)),
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
