"""An output folder: artefacts and their manifest, written so that a kill leaves nothing half-done.

Everything is made in a staging folder inside the output folder (same file system) and
renamed into place at the end. What mfs-edge did not write is never touched without
``--overwrite``, and never deleted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mfs_edge.base import files
from mfs_edge.base.errors import InputError, OutputError
from mfs_edge.bundle.manifest import ArtefactRecord, Manifest, read

MANIFEST = "manifest.json"
REJECTED = ".rejected"
_STAGING = ".mfs-edge-staging-"


def foreign(folder: Path) -> list[str]:
    """Names in ``folder`` that no mfs-edge manifest in it accounts for."""
    if not folder.exists():
        return []
    known = {MANIFEST} if (folder / MANIFEST).exists() else set()
    with contextlib.suppress(InputError):  # an unreadable manifest vouches for nothing, itself included
        known |= read(folder / MANIFEST).files()
    return sorted(p.name for p in folder.iterdir() if p.name not in known and not p.name.startswith(_STAGING))


def check_folder(folder: Path, *, overwrite: bool, ours: Collection[str] = ()) -> None:
    """Before any work: can results go to ``folder``, in which ``ours`` may stand besides what a manifest names?

    Raises:
        OutputError: it is a file, or holds other files and ``overwrite`` is off, or may not
            be written.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file, not a folder; choose another --out")
    others = [name for name in foreign(folder) if name not in ours]
    if others and not overwrite:
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise OutputError(
            f"{folder}: holds files that mfs-edge did not write ({shown}); choose another --out, or add --overwrite "
            "to write beside them and replace those of the same name"
        )
    if folder.exists() and (folder / MANIFEST).exists() and not overwrite:
        read(folder / MANIFEST)  # an unreadable one would be lost
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot be written (permission denied in {nearest}); choose another --out")


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A fresh folder inside ``folder`` to write into; gone afterwards, as is ``folder`` if nothing came of it.

    Raises:
        OutputError: the disk is full or read-only.
    """
    created = [p for p in (folder, *folder.parents) if not p.exists()]
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        stage = folder / f"{_STAGING}{os.getpid()}"
        stage.mkdir()
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
            for made in created:  # innermost first; rmdir refuses those that hold something
                with contextlib.suppress(OSError):
                    made.rmdir()


def _sweep(folder: Path) -> None:
    """Remove staging folders of runs that were killed."""
    for stale in folder.glob(f"{_STAGING}*"):
        pid = stale.name.removeprefix(_STAGING)
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(stale, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def publish(stage: Path, folder: Path, manifest: Manifest) -> Manifest:
    """Move every staged artefact of ``manifest`` into ``folder`` and record it there.

    Artefacts of earlier runs that are not replaced stay, and stay recorded. The manifest goes
    first: after a kill between two renames every file is still accounted for, and a hash that
    does not match tells which one is old.

    Returns:
        The manifest as written, earlier artefacts included.
    """
    merged = manifest.model_copy(update={"artefacts": _merge(_recorded(folder), manifest.artefacts)})
    with files.writing(folder):
        _sync(stage)
        files.write_text(folder / MANIFEST, merged.dumps())
        for artefact in manifest.artefacts:
            artefact.within(stage).move(folder)
    return merged


def _recorded(folder: Path) -> tuple[ArtefactRecord, ...]:
    with contextlib.suppress(InputError):
        return tuple(a for a in read(folder / MANIFEST).artefacts if (folder / a.file).exists())
    return ()


def _merge(old: Sequence[ArtefactRecord], new: Sequence[ArtefactRecord]) -> tuple[ArtefactRecord, ...]:
    by_file = {artefact.file: artefact for artefact in (*old, *new)}
    return tuple(by_file[name] for name in sorted(by_file))


def _sync(stage: Path) -> None:
    for path in files.under(stage):
        with path.open("rb") as file:
            os.fsync(file.fileno())
