"""What one process does for one identity, here or on a cluster: read it, fold it, write its packs.

A process keeps what it has read: torch, the checkpoint and the base's bytes are loaded for the first identity
only. All of it is named by path and hash, so that a worker that comes later finds the same.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mfs_edge.base import config, files
from mfs_edge.base.errors import InputError, MfsEdgeError, OutputError, UsageError
from mfs_edge.bundle import manifest
from mfs_edge.bundle.manifest import ArtefactRecord
from mfs_edge.bundle.publication import MANIFEST
from mfs_edge.fold import Folder
from mfs_edge.load import checkpoint as checkpoints
from mfs_edge.load import identity as identities
from mfs_edge.load.identity import Identity
from mfs_edge.pack import container, sealed
from mfs_edge.pack.base import BaseArtefact, coding_of, taking_packs
from mfs_edge.pack.caution import caution, misfit
from mfs_edge.quantize.coding import Coding
from mfs_edge.sample import WARNING, weights


@dataclass(frozen=True)
class Task:
    """What all identities of a run have in common; small, as it goes to every worker."""

    base: Path
    out: Path  # a folder
    alone: str  # the name of the only pack, where one was asked for by name
    artefacts: tuple[str, ...]  # of the base, by their files' names
    manifest_sha256: str
    checkpoint: Path | None  # None is the demo's
    recipients: tuple[str, ...]
    cautions: tuple[str, ...]

    def pack_of(self, identity: Path, artefact: str) -> str:
        """The name of an identity's pack."""
        return self.alone or f"{identity.stem}-{artefact}{container.SUFFIX}"


@dataclass(frozen=True)
class Done:
    """What became of one identity."""

    identity: Path
    packs: tuple[Path, ...] = ()
    kept: int = 0
    notes: tuple[str, ...] = ()
    wrong: MfsEdgeError | None = None


def plan(base: Path, out: Path, checkpoint: str | Path | None, recipients: Sequence[str]) -> Task:
    """The run, once its arguments have been looked at.

    Raises:
        InputError: ``base`` holds nothing that takes packs.
        UsageError: ``out`` names one pack, and the base has several artefacts; or a recipient is none.
    """
    base = base.absolute()
    records = taking_packs(base, manifest.read(base / MANIFEST).artefacts)
    alone = out.name if out.suffix == container.SUFFIX and not out.is_dir() else ""
    if alone and len(records) > 1:
        names = ", ".join(record.file for record in records)
        raise UsageError(f"-o {out}: is one pack, and the base has {len(records)} artefacts ({names}); give a folder")
    folder = (out.parent if alone else out).absolute()
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file, not a folder; choose another -o")
    path = config.checkpoint_path(checkpoint)
    return Task(
        base=base,
        out=folder,
        alone=alone,
        artefacts=tuple(record.file for record in records),
        manifest_sha256=files.sha256(base / MANIFEST),
        checkpoint=None if path is None else path.absolute(),
        recipients=tuple(sealed.recipients(recipients)),
        cautions=tuple(line for line in ("" if path else WARNING, *map(caution, records)) if line),
    )


@dataclass(frozen=True)
class Shop:
    """What a process keeps between identities."""

    folder: Folder
    codings: dict[str, Coding]  # by the file's name
    artefacts: tuple[BaseArtefact, ...]


@functools.lru_cache(maxsize=1)
def _shop(task: Task) -> Shop:
    """Reads everything once.

    Raises:
        InputError: the base changed, or the checkpoint is not the one that it was compiled for.
    """
    if files.sha256(files.require_file(task.base / MANIFEST, "manifest")) != task.manifest_sha256:
        raise InputError(
            f"{task.base / MANIFEST}: has changed meanwhile, or is another one here; run the command again"
        )
    records = taking_packs(task.base, manifest.read(task.base / MANIFEST).artefacts)
    codings = {record.base: coding_of(task.base, record) for record in records}
    artefacts = tuple(BaseArtefact.load(task.base, record) for record in records)
    return Shop(_folder(task, records), codings, artefacts)


def _folder(task: Task, records: Sequence[ArtefactRecord]) -> Folder:
    """Of the checkpoint, which must be every record's."""
    path = task.checkpoint
    found = weights.checkpoint("iin") if path is None else checkpoints.load(path, expect="iin")
    for record in records:
        if record.checkpoint.sha256 != found.sha256:
            raise InputError(
                f"{found.source}: is not the checkpoint that {record.file} was compiled for; give "
                f"{record.checkpoint.name}, whose sha256 is {record.checkpoint.sha256[:12]}..., with --checkpoint"
            )
    return Folder(found)


def packed(task: Task, path: Path) -> Done:
    """The packs of the identity in ``path``, for every artefact.

    What is wrong with the identity is told, not raised.

    Raises:
        MfsEdgeError: what no other identity could do better: of the base, the checkpoint or the disk.
    """
    shop = _shop(task)
    try:
        identity = identities.load(path)
        targets = {artefact: _name(task, path, artefact) for artefact in shop.artefacts}
        missing = {a: to for a, to in targets.items() if not _finished(a, to, identity) or task.recipients}
        notes = _write(task, shop, identity, missing, path) if missing else ()
        return Done(path, tuple(targets.values()), len(targets) - len(missing), (*identity.notes, *notes))
    except OutputError:
        raise
    except MfsEdgeError as error:
        return Done(path, wrong=error)


def _name(task: Task, path: Path, artefact: BaseArtefact) -> Path:
    name = task.pack_of(path, artefact.path.name)
    if len(name.encode("utf-8", "surrogateescape")) > files.LONGEST - 20:  # while it is written, it has a longer one
        raise InputError(f"{path}: its name is too long for that of a pack; shorten it")
    return task.out / name


def _write(
    task: Task, shop: Shop, identity: Identity, targets: dict[BaseArtefact, Path], source: Path
) -> tuple[str, ...]:
    """Writes the packs of the identity in ``source``; what to know of them comes back."""
    folded = shop.folder.fold(identity).weights("identity-local")
    used = {name: shop.codings[name] for name in dict.fromkeys(one.record.base for one in targets)}
    owned = {name: coding.owned(folded) for name, coding in used.items()}
    for artefact, to in targets.items():
        data = container.dumps(artefact.pack(owned[artefact.record.base], identity.sha256))
        if task.recipients:
            data = sealed.seal(data, task.recipients)
        with files.atomic(to) as temporary:
            temporary.write_bytes(data)
    return misfit(source.name, {name: coding.beyond(folded) for name, coding in used.items()})


def _finished(artefact: BaseArtefact, path: Path, identity: Identity) -> bool:
    """Whether ``path`` is this artefact's pack of ``identity``, whole.

    Raises:
        InputError: it is something else, which nobody wants replaced.
    """
    if not path.exists():
        return False
    data = files.require_file(path, "pack").read_bytes() if path.stat().st_size else b""
    if sealed.is_sealed(data):
        return False
    try:
        found = container.loads(data, path)
    except InputError as error:
        if data and container.FORMAT.encode() not in data[: container.LARGEST_HEADER]:
            raise InputError(f"{path}: is in the way, and no pack; move it, or choose another -o") from error
        return False
    return artefact.gives(found, identity.sha256)
