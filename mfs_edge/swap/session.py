"""An artefact, opened for swapping: checked against its manifest, with each pack's identity at hand."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mfs_edge import bundle, target
from mfs_edge.base import files
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.base.reasons import reason_of
from mfs_edge.base.version import __version__
from mfs_edge.bundle import proof
from mfs_edge.bundle.manifest import ArtefactRecord
from mfs_edge.pack import container
from mfs_edge.pack.apply import apply, filled
from mfs_edge.swap.crops import Crops
from mfs_edge.swap.made import Made
from mfs_edge.target import ENROL, PAYLOAD, Engine, Target


@dataclass(frozen=True)
class Person:
    """Whose face is put in."""

    name: str  # of the pack, or of the artefact
    identity_sha256: str  # empty where the artefact does not say
    pack: Path | None = None
    contents: Mapping[str, bytes] = field(default_factory=dict, repr=False)  # the artefact with the person in it


def find(path: Path, packs: Sequence[Path] = (), key: str | Path | None = None) -> Path:
    """The artefact at ``path``: itself, or the only one in a folder of ``compile`` that swaps, runs here and fits.

    Args:
        path: the file or folder by which a runtime opens it, or the folder that holds it.
        packs: of several artefacts in a folder the one is meant that these were made for.
        key: for sealed packs, as of ``pack.apply``.

    Raises:
        InputError: there is none, or several; they are listed.
    """
    files.require_text(path)
    suffixes = [kind.suffix for kind in target.registered().values()]
    if path.suffix in suffixes:
        if not path.exists():
            raise InputError(f"{path}: no such file; mfs-edge compile writes artefacts")
        return path
    if not path.is_dir():
        what = "is no artefact" if path.exists() else "no such file or folder"
        raise InputError(f"{path}: {what}; give a folder of compile, or a file ending in {', '.join(suffixes)}")
    found = _within(path, suffixes)
    fitting = _fitting(found, packs, key) if len(found) > 1 else found
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(one.name for one in fitting or found)
    what = f"holds {len(fitting or found)} artefacts ({names})" if found else "holds no artefact that swaps"
    raise InputError(f"{path}: {what}; name the one that is meant: --artefact FILE")


def _within(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    if not (folder / bundle.MANIFEST).exists():
        return sorted(path for path in folder.iterdir() if path.suffix in suffixes)
    named = (one.file for one in proof.settled(folder).artefacts if one.task != ENROL)
    return [path for path in (files.confined(folder, name, source=folder) for name in named) if path.exists()]


def _fitting(found: Sequence[Path], packs: Sequence[Path], key: str | Path | None) -> list[Path]:
    """Those that can run here, and that the packs were made for."""
    wanted = {container.read(pack, key).artefact for pack in packs}
    kinds = {path: target.of_file(path) for path in found}
    runnable = [
        path for path, kind in kinds.items() if not kind.unrunnable() and not target.missing(kind, running=True)
    ]
    return [path for path in runnable if not wanted or path.name in wanted]


class Session:
    """Puts one person, or one of several, into aligned crops.

    Attributes:
        size: pixels of a side of the crops.
        people: who can be put in, in the order of the packs; the artefact's own identity where there are none.
        warnings: what a user must be told of this artefact.
    """

    def __init__(
        self, path: Path, packs: Sequence[Path] = (), *, key: str | Path | None = None, threads: int | None = None
    ) -> None:
        """Open the artefact at ``path``, and run it once with each person.

        Args:
            path: the file or folder by which a runtime opens it.
            packs: made for this very artefact.
            key: the file with the secret key that opens sealed packs; by default that of ``$MFS_EDGE_KEY``.
            threads: of the runtime; None leaves it to that.

        Raises:
            InputError: it is damaged, not what its manifest says, swaps nothing, or a pack is not for it.
            MissingDependency: its runtime is not installed, or cannot run here.
        """
        if threads is not None and threads < 1:
            raise UsageError(f"--threads {threads}: must be at least 1")
        self.path, self._threads, self._key = path, threads, key
        self.kind: Target = target.of_file(path)
        self.record, doubts = _recorded(path)
        loaded = self.kind.load(path, threads=threads)
        self.metadata = loaded.program.metadata
        _require_swapper(path, self.record, self.metadata, [tensor.name for tensor in loaded.program.gives])
        own = Person(path.name, self.metadata.get("identity_sha256", ""))
        self.people = tuple(_person(path, pack, key) for pack in packs) or (own,)
        self._room: tempfile.TemporaryDirectory[str] | None = None  # for engines that read files only
        self._in = 0  # who is in the first engine, where all share it
        self._crops = self._opened(loaded.engine)
        self.size = self._crops[0].size
        recorded = self.record.warnings if self.record else ()
        said = (*recorded, self.metadata.get("warning", ""), *loaded.warnings())
        self.warnings = (*doubts, *(f"{path.name}: {line}" for line in dict.fromkeys(filter(None, said))))

    @property
    def engine(self) -> Engine:
        """The first person's; that of all where they share it."""
        return self._crops[0].engine

    def of(self, person: int) -> Crops:
        """What puts in ``people[person]``; until somebody else is asked for."""
        if len(self._crops) > 1:
            return self._crops[person]
        if person != self._in:
            self._switch(self.engine, self.people[person])
            self._in = person
        return self._crops[0]

    def made(self, *, people: Sequence[int] = (0,), faces: int = 0, frames: int = 1, notes: Sequence[str] = ()) -> Made:
        """What an output with these people in it says of itself."""
        sources = (self.record.checkpoint.sha256 if self.record else "", self.metadata.get("checkpoint_sha256", ""))
        identities = [self.people[person].identity_sha256 for person in sorted(set(people))]
        return Made(
            artefact=self.path,
            artefact_sha256=target.artefact_of(self.kind, self.path).sha256,
            identity_sha256s=tuple(dict.fromkeys(filter(None, identities))),
            checkpoint_sha256=next(filter(None, sources), ""),
            precision=self.record.precision if self.record else self.metadata.get("precision", ""),
            target=self.kind.name,
            versions={"mfs-edge": __version__, self.engine.title: self.engine.version},
            faces=faces,
            frames=frames,
            warnings=tuple(dict.fromkeys((*self.warnings, *notes))),
        )

    def _opened(self, first: Engine) -> list[Crops]:
        """An engine for each person; or one for all, where putting in another takes less than a frame."""
        ready = [self._tried(first, self.people[0])]
        others = range(1, len(self.people))
        if others and hasattr(first, "switch"):
            cheap = self._cheap(ready[0])
            for person in (*others, 0) if cheap else (0,):  # the last is who stays in it
                self._tried(first, self.people[person])  # whatever is wrong with a pack shows before any frame
            if cheap:
                return ready
        return [*ready, *(self._tried(self._load(self.path), self.people[person]) for person in others)]

    def _cheap(self, crops: Crops) -> bool:
        """Whether the first frame after a switch, and the switch, take less than two frames."""
        started = time.perf_counter()
        crops.infer()
        framed = time.perf_counter()
        self._switch(crops.engine, self.people[1])
        crops.infer()
        return time.perf_counter() - framed < 2 * (framed - started)

    def _tried(self, engine: Engine, person: Person) -> Crops:
        """An engine with ``person`` in it, after its first frame: of grey, which shows what it gives."""
        if person.pack is not None and hasattr(engine, "switch"):
            self._switch(engine, person)
        elif person.pack is not None:
            engine = self._load(self._written(person.pack))
        crops = Crops(engine, person.pack or self.path)
        crops.feed(np.full((crops.size, crops.size, 3), 128, np.uint8))
        crops.infer()
        crops.fetch()
        return crops

    def _load(self, path: Path) -> Engine:
        return self.kind.load(path, threads=self._threads).engine

    def _switch(self, engine: Engine, person: Person) -> None:
        try:
            engine.switch(dict(person.contents))
        except Exception as error:  # the runtimes' exceptions share no base
            raise InputError(
                f"{person.pack}: {engine.title} cannot take it ({reason_of(error)}); make the pack again"
            ) from error

    def _written(self, pack: Path) -> Path:
        """The artefact with a pack's identity in it, among the temporary files for as long as the session is there."""
        self._room = self._room or tempfile.TemporaryDirectory(prefix="mfs-edge-")
        place = Path(tempfile.mkdtemp(dir=self._room.name))
        return apply(self.path, pack, place / self.path.name, key=self._key).path


def _recorded(path: Path) -> tuple[ArtefactRecord | None, tuple[str, ...]]:
    """What the manifest beside it says of these very bytes, or why it says nothing.

    Raises:
        InputError: it speaks of other bytes.
    """
    found = proof.of(path)
    if found.changed:
        raise InputError(
            f"{path}: is not what the {bundle.MANIFEST} beside it records ({', '.join(found.changed)}); compile it "
            "again, or move it to a folder of its own"
        )
    return found.record, (f"{path}: {found.doubt}",) if found.doubt else ()


def _require_swapper(
    path: Path, record: ArtefactRecord | None, metadata: Mapping[str, str], gives: Sequence[str]
) -> None:
    tasks = (record.task if record else "", metadata.get("task", ""))
    if ENROL in tasks or PAYLOAD in gives:
        raise InputError(f"{path}: reads identities (mfs-edge enrol) and swaps nothing; give an artefact of compile")


def _person(path: Path, pack: Path, key: str | Path | None) -> Person:
    """Raises as ``pack.apply``."""
    return Person(pack.name, container.read(pack, key).identity_sha256, pack, filled(path, pack, key))
