"""An output folder: what may be written there, and a staging folder to write it into.

Everything is made in a staging folder inside the output folder (same file system), and published
at the end (:mod:`mfs_edge.bundle.publication`) by one writer at a time. What mfs-edge did not write is
never touched without ``--overwrite``, and never deleted.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mfs_edge.base import files
from mfs_edge.base.errors import InputError, OutputError
from mfs_edge.bundle import lock, publication
from mfs_edge.bundle.manifest import Manifest, read
from mfs_edge.bundle.publication import MANIFEST, STAGING

if TYPE_CHECKING:
    from filelock import BaseFileLock

REJECTED = ".rejected"
_ALIVE = ".lock"  # in a staging folder, held for as long as its run lives
_ROOM = 128  # bytes of the longest path inside: of a Core ML package's weights, while they are staged
_TRIES = 100  # to make a staging folder, while other runs remove the output folder that they made


def foreign(folder: Path) -> list[str]:
    """Names in ``folder`` that no mfs-edge manifest in it accounts for."""
    if not folder.exists():
        return []
    known = {MANIFEST} if (folder / MANIFEST).exists() else set()
    known |= {name.parts[0] for name in named(folder)}
    return sorted(p.name for p in folder.iterdir() if p.name not in known and not _leftover(p.name))


def named(folder: Path) -> set[PurePosixPath]:
    """What the manifest of ``folder`` names, by final names; those that a killed run was about to give, too."""
    with contextlib.suppress(InputError):  # an unreadable manifest vouches for nothing, itself included
        artefacts = read(folder / MANIFEST).artefacts
        pending = [publication.moved(a, None) for a in artefacts if publication.staged(a)]
        every = [*artefacts, *pending]
        bases = {PurePosixPath(artefact.base) for artefact in every if artefact.base}
        return bases | {PurePosixPath(name) for artefact in every for name in artefact.files}
    return set()


def _leftover(name: str) -> bool:
    """Whether only mfs-edge names things so, while it writes."""
    return name.startswith((STAGING, lock.PROBE)) or name == lock.NAME or files.temporary_of(name) == MANIFEST


def check_folder(folder: Path, *, overwrite: bool, ours: Collection[str] = ()) -> None:
    """Before any work: can results go to ``folder``, in which ``ours`` may stand besides what a manifest names?

    Raises:
        OutputError: it is a file, or holds other files and ``overwrite`` is off, or may not
            be written.
    """
    nearest = _nearest(folder)
    others = [name for name in foreign(folder) if name not in ours]
    if others and not overwrite:
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise OutputError(
            f"{folder}: holds files that mfs-edge did not write ({shown}); choose another --out, or add --overwrite "
            "to write beside them and replace those of the same name"
        )
    if folder.exists() and (folder / MANIFEST).exists() and not overwrite:
        read(folder / MANIFEST)  # an unreadable one would be lost
    _check_room(folder, nearest)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot be written (permission denied in {nearest}); choose another --out")


def _nearest(folder: Path) -> Path:
    """``folder``, or the folder in which it can be made.

    Raises:
        OutputError: something else has that name.
    """
    if "\0" in str(folder) or any(len(os.fsencode(part)) > files.LONGEST for part in folder.parts):
        raise OutputError(f"{ascii(str(folder))[1:-1]}: no folder can be called so; choose another --out")
    for path in (folder, *folder.absolute().parents):
        try:
            if path.is_dir():
                return path
            if path.is_symlink() and not path.exists():
                raise OutputError(
                    f"{folder}: {path} is a symbolic link to {path.readlink()}, which does not exist; make that "
                    "folder, or choose another --out"
                )
            if path.exists():
                raise OutputError(f"{folder}: {path} is a file, not a folder; choose another --out")
        except (OSError, ValueError) as error:  # a name too long, a loop of links, a null character
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(f"{folder}: cannot be used ({reason}); choose another --out") from error
    raise OutputError(f"{folder}: there is no such place; choose another --out")


def _check_room(folder: Path, nearest: Path) -> None:
    """By the limits of the file system itself: no folder is made on the way to one that cannot be.

    Raises:
        OutputError: a name in ``folder``, or all of it with what is written inside, is too long.
    """
    name, whole = (_limit(nearest, which) for which in ("PC_NAME_MAX", "PC_PATH_MAX"))
    long = [part for part in folder.parts if name and len(os.fsencode(part)) > name]
    if long or (whole and len(os.fsencode(folder)) + _ROOM > whole):
        most = f"a name may have {name} bytes" if long else f"a whole path may have {whole} bytes"
        raise OutputError(f"{folder}: is too long to write to, {most} there; choose another --out")


def _limit(path: Path, which: str) -> int:
    """What the file system of ``path`` says; 0 where it says nothing."""
    if hasattr(os, "pathconf"):
        with contextlib.suppress(OSError, ValueError):
            return max(0, os.pathconf(path, which))
    return 0


@contextlib.contextmanager
def staging(folder: Path, tell: Callable[[str], None] | None = None) -> Iterator[Path]:
    """A fresh folder inside ``folder`` to write into; gone afterwards, as is ``folder`` if nothing came of it.

    Args:
        folder: the output folder; made if need be.
        tell: told where files cannot be locked.

    Raises:
        OutputError: the disk is full or read-only.
    """
    with files.writing(folder):
        created = [p for p in (folder, *folder.parents) if not p.exists()]
        try:
            stage, alive = _stage(folder, tell or (lambda line: None))
            try:
                yield stage
            finally:
                _discard(stage, folder)
                alive.release()
        finally:
            for made in created:  # innermost first; rmdir refuses those that hold something
                with contextlib.suppress(OSError):
                    made.rmdir()


def _stage(folder: Path, tell: Callable[[str], None]) -> tuple[Path, BaseFileLock]:
    """A staging folder and the lock that says that its run lives; what killed runs left is cleared first."""
    for tries_left in reversed(range(_TRIES)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            soft = lock.soft(folder)
            with lock.held(folder, soft=soft):
                _recover(folder, soft=soft)
                stage = folder / f"{STAGING}{secrets.token_hex(8)}"
                stage.mkdir()
                alive = _alive(stage, soft=soft)
                break
        except FileNotFoundError:  # another run has just removed the folder that it had made
            if folder.exists() or not tries_left:
                raise
    if soft:
        tell(
            f"{folder}: lies on a file system that cannot lock files; a lock file takes their place there, so write "
            "into it from one machine at a time"
        )
    return stage, alive


def _alive(stage: Path, *, soft: bool) -> BaseFileLock:
    """The lock in ``stage``; without it the folder is gone again."""
    try:
        return lock.taken(stage / _ALIVE, soft=soft)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def _recover(folder: Path, *, soft: bool) -> None:
    """Finish what a killed run had committed, and remove what it left; the lock is held."""
    publication.settle(folder)
    for path in list(folder.iterdir()):
        if path.name.startswith(STAGING):
            if not (path / _ALIVE).exists() or lock.abandoned(path / _ALIVE, soft=soft):
                shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(lock.PROBE) or files.temporary_of(path.name) == MANIFEST:
            with contextlib.suppress(OSError):  # another run's probe, just gone
                path.unlink()


def _discard(stage: Path, folder: Path) -> None:
    """Remove the staging folder, unless the manifest names what is in it: then the next run goes on from there."""
    if not any(publication.staged(a) and a.file.startswith(f"{stage.name}/") for a in publication.recorded(folder)):
        shutil.rmtree(stage, ignore_errors=True)


def publish(stage: Path, folder: Path, manifest: Manifest) -> Manifest:
    """Put the staged artefacts of ``manifest`` into ``folder`` and record them there, all in one step.

    Artefacts of earlier runs that are not replaced stay, and stay recorded.

    Returns:
        The manifest as written, earlier artefacts included.

    Raises:
        OutputError: the disk is full, or another run does not end writing there.
    """
    with files.writing(folder), lock.held(folder, soft=lock.soft(folder)):
        return publication.commit(stage, folder, manifest)
