"""What a manifest proves of a file on disk: only what it says of these very bytes, every part's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from mfs_edge import target
from mfs_edge.base.errors import InputError
from mfs_edge.bundle import lock
from mfs_edge.bundle.manifest import ArtefactRecord, Manifest, read
from mfs_edge.bundle.publication import MANIFEST, STAGING, staged

_PATIENCE_SECONDS, _POLL_SECONDS = 2.0, 0.02  # a publication takes a tenth of that

Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Proof:
    """``record`` where the bytes are the recorded ones; ``doubt`` where a manifest is there and they are not."""

    record: ArtefactRecord | None = None
    doubt: str = ""
    changed: tuple[str, ...] = ()  # what is not as the manifest records it

    @property
    def told(self) -> str:
        """In words; empty where no manifest says anything."""
        return self.record.verification.status if self.record else self.doubt


def of(path: Path) -> Proof:
    """What the manifest beside the artefact at ``path`` proves of it."""
    folder = path.parent.parent if path.parent.name.startswith(STAGING) else path.parent
    if not (folder / MANIFEST).exists():
        return Proof()
    name = path.relative_to(folder).as_posix()
    try:
        entries = [entry for entry in read(folder / MANIFEST).artefacts if entry.file == name]
        changed = [entry.changed(folder) for entry in entries]
    except InputError as error:
        return Proof(doubt=f"nothing is proven ({error})")
    for entry, others in zip(entries, changed, strict=True):
        if not others:
            return Proof(entry)
    if not changed:
        return Proof(doubt=f"nothing is proven: the {MANIFEST} beside it does not name {name}")
    doubt = f"nothing is proven: not what the {MANIFEST} beside it records ({', '.join(changed[0])})"
    return Proof(doubt=doubt, changed=changed[0])


def settled(folder: Path) -> Manifest:
    """The manifest of ``folder``; while another run publishes there, the one that it ends with.

    Raises:
        InputError: it is missing or damaged.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = read(folder / MANIFEST)
        busy = (folder / lock.NAME).exists() and any(map(staged, found.artefacts))
        if not busy or time.monotonic() > end:  # or left so by a run that was killed: whole, too
            return found
        time.sleep(_POLL_SECONDS)


def stamp(path: Path) -> Stamp | None:
    """What changes when any file of the artefact at ``path`` is replaced; None while one is missing."""
    try:
        states = [(str(member), member.stat()) for member in target.artefact(path).members]
    except (OSError, InputError):
        return None
    return tuple((name, state.st_ino, state.st_mtime_ns, state.st_size) for name, state in states)


def being_replaced(path: Path) -> bool:
    """Whether another run publishes into the folder of ``path`` right now."""
    return (path.parent / lock.NAME).exists()
