"""How results take their places: one rename of the manifest commits all of them.

1. Everything is in a staging folder inside the output folder, on the disk, under unique names.
2. The manifest is renamed into place; it names the artefacts where they are: in the staging folder.
   Before this rename the folder is the old one, from here on it is the new one.
3. The artefacts get their final names, too (as hard links, or copies where there are none), then the
   files beside them, and a second manifest names those. Then the staging folder goes.

A run that is killed after step 2 leaves a folder that is whole, and whose manifest is true; the next
run does step 3 for it (:func:`settle`).
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mfs_edge.base import files
from mfs_edge.base.artefact import Artefact
from mfs_edge.base.errors import InputError
from mfs_edge.bundle.manifest import ArtefactRecord, Manifest, read

MANIFEST = "manifest.json"
STAGING = ".mfs-edge-staging-"
_BESIDE = ".beside"  # inside of a staging folder: what is no artefact and is published with them
_INCOMING, _OUTGOING = ".incoming", ".outgoing"  # inside of a staging folder


def commit(stage: Path, folder: Path, manifest: Manifest) -> Manifest:
    """Put the staged artefacts of ``manifest`` into ``folder``, whose lock is held.

    Artefacts of earlier runs that are not replaced stay, and stay recorded.

    Returns:
        The manifest as written, earlier artefacts included.

    Raises:
        OSError: the disk is full, ...; the folder is the old or the new one, nothing between.
    """
    settle(folder)
    for path in files.under(stage):
        files.sync(path)
    replaced = {artefact.file for artefact in manifest.artefacts}
    kept = [artefact for artefact in recorded(folder) if artefact.file not in replaced]
    new = [moved(artefact, PurePosixPath(stage.name)) for artefact in manifest.artefacts]
    _write(folder, manifest.model_copy(update={"artefacts": _sorted([*kept, *new])}), through=stage)
    return settle(folder) or manifest


def beside(stage: Path) -> Path:
    """The folder in ``stage`` for files that no manifest names: they get their places right after the artefacts."""
    return stage / _BESIDE


def settle(folder: Path) -> Manifest | None:
    """Step 3, for this run or one that was killed; returns the manifest, or None where there is none to read.

    What somebody has deleted from the staging folder since is recorded no longer.
    """
    try:
        manifest = read(folder / MANIFEST)
    except InputError:
        return None  # ``check_folder`` has decided what may happen to it
    pending = [artefact for artefact in manifest.artefacts if staged(artefact)]
    if not pending:
        return manifest
    there = [artefact for artefact in pending if all((folder / name).exists() for name in artefact.files)]
    for artefact in there:
        _place(artefact.within(folder), _stage(artefact, folder), folder)
    final = [artefact for artefact in manifest.artefacts if not staged(artefact)]
    settled = manifest.model_copy(update={"artefacts": _sorted([*final, *(moved(a, None) for a in there)])})
    stages = {_stage(artefact, folder) for artefact in pending}
    for stage in stages:
        stage.mkdir(exist_ok=True)
        _place_others(stage, folder)
    _write(folder, settled, through=min(stages))
    for stage in stages:
        shutil.rmtree(stage, ignore_errors=True)
    return settled


def _stage(artefact: ArtefactRecord, folder: Path) -> Path:
    return folder / PurePosixPath(artefact.file).parts[0]


def staged(artefact: ArtefactRecord) -> bool:
    """Whether it is recorded under the unique name of its publication."""
    return PurePosixPath(artefact.file).parts[0].startswith(STAGING)


def moved(artefact: ArtefactRecord, into: PurePosixPath | None) -> ArtefactRecord:
    """The record of ``artefact`` in a staging folder; or, for None, outside of it again."""

    def name(old: str) -> str:
        return str(into / old if into else PurePosixPath(*PurePosixPath(old).parts[1:]))

    digests = {name(old): digest for old, digest in artefact.files.items()}
    runs = tuple(replace(run, file=name(run.file)) for run in artefact.runs)
    return artefact.model_copy(update={"file": name(artefact.file), "files": digests, "runs": runs})


def recorded(folder: Path) -> tuple[ArtefactRecord, ...]:
    """What the manifest of ``folder`` names and is still there."""
    with contextlib.suppress(InputError):
        return tuple(a for a in read(folder / MANIFEST).artefacts if (folder / a.file).exists())
    return ()


def _sorted(artefacts: Sequence[ArtefactRecord]) -> tuple[ArtefactRecord, ...]:
    by_file = {artefact.file: artefact for artefact in artefacts}
    return tuple(by_file[name] for name in sorted(by_file))


def _write(folder: Path, manifest: Manifest, *, through: Path) -> None:
    """The manifest of ``folder``, in one rename from the staging folder."""
    fresh = through / f".{MANIFEST}"
    fresh.write_text(manifest.dumps(), encoding="utf-8")
    files.sync(fresh)
    files.sync(through)
    files.replace(fresh, folder / MANIFEST)
    files.sync(folder)


def _place(artefact: Artefact, stage: Path, folder: Path) -> None:
    """Give a committed artefact its final names, too.

    No manifest speaks of those names now. Still nobody shall open one identity's network with another's
    weights: where there are several parts, the one that opens them goes first and comes last.
    """
    first, *others = (folder / part.relative_to(stage) for part in artefact.parts)
    if others:
        _away(first, stage)
    for source, destination in zip((*artefact.parts[1:], artefact.parts[0]), (*others, first), strict=True):
        incoming = stage / _INCOMING
        files.delete(incoming)
        files.twin(source, incoming)
        destination.parent.mkdir(parents=True, exist_ok=True)
        if incoming.is_dir() or destination.is_dir():  # which no rename replaces
            _away(destination, stage)
        files.replace(incoming, destination)


def _place_others(stage: Path, folder: Path) -> None:
    """Give what lies beside the artefacts its final names; what a killed run has moved already is there."""
    if beside(stage).is_dir():
        for source in files.under(beside(stage)):
            destination = folder / source.relative_to(beside(stage))
            destination.parent.mkdir(parents=True, exist_ok=True)
            files.replace(source, destination)


def _away(path: Path, stage: Path) -> None:
    """Out of the folder in one step, then deleted."""
    outgoing = stage / _OUTGOING
    files.delete(outgoing)
    with contextlib.suppress(FileNotFoundError):
        path.rename(outgoing)
    files.delete(outgoing)
