"""An artefact on disk: a file, a file with companions beside it, or a folder; one type for all three."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mfs_edge.base import files


@dataclass(frozen=True)
class Artefact:
    """What a target wrote for one network.

    Its parts are what lies in the folder under names of its own: one file, several (OpenVINO's
    ``.xml`` and ``.bin``), or a folder (Core ML's ``.mlpackage``). They keep their places beside each other.
    """

    path: Path  # the part by which a runtime opens it
    companions: tuple[str, ...] = ()  # the other parts, relative to the same folder, with forward slashes

    @classmethod
    def at(cls, path: Path, suffixes: Iterable[str] = ()) -> Artefact:
        """The artefact at ``path``, with the companions that are there.

        Args:
            path: need not exist.
            suffixes: that take the place of its own, such as ``.bin``; see ``Target.companions``.
        """
        beside = [path.with_suffix(suffix) for suffix in suffixes]
        return cls(path, tuple(other.name for other in beside if other.exists()))

    @classmethod
    def alone_in(cls, folder: Path, name: str) -> Artefact:
        """The artefact that opens by ``name``, all of whose parts are what ``folder`` holds."""
        return cls(folder / name, tuple(sorted(part.name for part in folder.iterdir() if part.name != name)))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parts, relative to their folder, the one that opens it first."""
        return (self.path.name, *self.companions)

    @property
    def parts(self) -> tuple[Path, ...]:
        """Files or folders, the one that opens it first."""
        return tuple(self.path.parent / name for name in self.names)

    @property
    def members(self) -> tuple[Path, ...]:
        """Every single file, those inside of folders too; part by part, sorted within a folder."""
        return tuple(file for part in self.parts for file in files.under(part))

    @property
    def sha256s(self) -> dict[str, str]:
        """The name of each part -> its hex digest, by :func:`mfs_edge.base.files.sha256`."""
        return {name: files.sha256(self.path.parent / name) for name in sorted(self.names)}

    @property
    def sha256(self) -> str:
        """One hex digest for all of it: of its only part, or of the parts' names and digests."""
        digests = self.sha256s
        if len(digests) == 1:
            return digests[self.path.name]
        return hashlib.sha256("".join(f"{name}\0{digests[name]}\n" for name in digests).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all members."""
        return sum(file.stat().st_size for file in self.members)

    def move(self, folder: Path) -> Artefact:
        """Into ``folder``, on the same file system, in place of what has the same names there."""
        return self._renamed(Artefact(folder / self.path.name, self.companions))

    def rename(self, change: Callable[[str], str]) -> Artefact:
        """Give every part the name that ``change`` makes of its own, in the same folder."""
        path, *companions = (str(PurePosixPath(n).with_name(change(PurePosixPath(n).name))) for n in self.names)
        return self._renamed(Artefact(self.path.with_name(path), tuple(companions)))

    def remove(self) -> None:
        """Delete every part that is there."""
        for part in self.parts:
            files.delete(part)

    def _renamed(self, to: Artefact) -> Artefact:
        for source, destination in zip(self.parts, to.parts, strict=True):
            destination.parent.mkdir(parents=True, exist_ok=True)
            if destination.is_dir() or (source.is_dir() and destination.exists()):  # which no rename replaces
                old = destination.rename(source.with_name(f".{destination.name}.old"))
                source.rename(destination)
                files.delete(old)
            else:
                files.replace(source, destination)
        return to
