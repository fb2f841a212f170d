"""An artefact on disk: a file, a file with companions beside it, or a folder; one type for all three."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mfs_edge.base import files


@dataclass(frozen=True)
class Artefact:
    """What a target wrote for one network.

    Its parts are what lies in the folder under names of its own: one file, several (OpenVINO's
    ``.xml`` and ``.bin``), or a folder (Core ML's ``.mlpackage``). They stay side by side.
    """

    path: Path  # the part by which a runtime opens it
    companions: tuple[str, ...] = ()  # names of the other parts, in the same folder

    @classmethod
    def at(cls, path: Path, companions: Iterable[str] = ()) -> Artefact:
        """The artefact at ``path``, with the companions that are there.

        Args:
            path: need not exist.
            companions: the suffixes that take the place of its own, such as ``.bin``; see ``Target.companions``.
        """
        beside = [path.with_suffix(suffix) for suffix in companions]
        return cls(path, tuple(other.name for other in beside if other.exists()))

    @classmethod
    def alone_in(cls, folder: Path, name: str) -> Artefact:
        """The artefact that opens by ``name``, all of whose parts are what ``folder`` holds."""
        return cls(folder / name, tuple(sorted(part.name for part in folder.iterdir() if part.name != name)))

    @property
    def parts(self) -> tuple[Path, ...]:
        """Files or folders, the one that opens it first."""
        return (self.path, *(self.path.with_name(name) for name in self.companions))

    @property
    def members(self) -> tuple[Path, ...]:
        """Every single file, those inside of folders too; part by part, sorted within a folder."""
        return tuple(file for part in self.parts for file in files.under(part))

    @property
    def sha256s(self) -> dict[str, str]:
        """The name of each part -> its hex digest, by :func:`mfs_edge.base.files.sha256`."""
        return {part.name: files.sha256(part) for part in sorted(self.parts)}

    @property
    def size(self) -> int:
        """Bytes of all members."""
        return sum(file.stat().st_size for file in self.members)

    def move(self, folder: Path) -> Artefact:
        """Into ``folder``, on the same file system, in place of what has the same names there."""
        return self._renamed(Artefact(folder / self.path.name, self.companions))

    def rename(self, change: Callable[[str], str]) -> Artefact:
        """Give every part the name that ``change`` makes of its own, in the same folder."""
        path = self.path.with_name(change(self.path.name))
        return self._renamed(Artefact(path, tuple(map(change, self.companions))))

    def remove(self) -> None:
        """Delete every part that is there."""
        for part in self.parts:
            _delete(part)

    def _renamed(self, to: Artefact) -> Artefact:
        for source, destination in zip(self.parts, to.parts, strict=True):
            if destination.is_dir() or (source.is_dir() and destination.exists()):  # which no rename replaces
                old = destination.rename(source.with_name(f".{destination.name}.old"))
                source.rename(destination)
                _delete(old)
            else:
                source.replace(destination)
        return to


def _delete(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)
