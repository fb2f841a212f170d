"""A built environment: where it is, and the command lines that use it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mfs_edge.base import extras
from mfs_edge.base.errors import MissingDependency
from mfs_edge.base.printable import printable
from mfs_edge.emulation import apt, wheels
from mfs_edge.emulation.boards import Board

EMULATOR = "qemu-aarch64"
UNFINISHED = wheels.UNFINISHED
Say = Callable[[str], None]


@dataclass(frozen=True)
class Installed:
    """What was found out once, kept beside it."""

    python: str  # of the guest, as in "3.11"
    glibc: str  # of the guest
    qemu: str
    cpus: tuple[str, ...]  # that it can be
    packages: int


@dataclass(frozen=True)
class Environment:
    """A built environment."""

    folder: Path
    installed: Installed
    plugin: Path

    def cpu(self, board: Board) -> str:
        """The best of the board's CPUs that this QEMU knows.

        Raises:
            MissingDependency: it knows none.
        """
        for name in board.cpus:
            if name in self.installed.cpus:
                return name
        wanted = " or ".join(board.cpus)
        raise MissingDependency(f"emulated:{board.name}: QEMU {self.installed.qemu} has no {wanted}; 7.1 or newer has")

    def command(self, board: Board, arguments: Sequence[str], *, log: Path, modules: Sequence[Path] = ()) -> list[str]:
        """What runs the guest's Python with ``arguments``, and writes its counts to ``log``."""
        path = ":".join(map(str, modules))
        # A fixed seed: Python's dictionaries and the C library's random numbers repeat.
        variables = {"PYTHONPATH": path, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
        given = [word for name, value in variables.items() for word in ("-E", f"{name}={value}")]
        return [
            *("env", "-i"),  # the host's variables are not the guest's, and their length shifts its stack
            *emulator(self.folder),
            *("-cpu", self.cpu(board), "-L", str(self.folder / board.name), "-seed", "0"),
            *("-plugin", str(self.plugin), "-d", "plugin", "-D", str(log)),
            *given,
            str(self.folder / f"root/usr/bin/python{self.installed.python}"),
            *arguments,
        ]

    def modules(self, suffix: str, say: Say) -> list[Path]:
        """Folders to import numpy and the runtime of ``suffix`` from, fetched if need be.

        Raises:
            MissingDependency: there is no wheel of the version that is installed here.
        """
        into = self.folder / "wheels"
        found = []
        with lock(self.folder.parent):
            for requirement in wheels.wanted(suffix):
                before = set(into.glob("*"))
                versions = {"python": self.installed.python, "glibc": self.installed.glibc}
                found.append(wheels.unpack(requirement, **versions, into=into))
                if found[-1] not in before:
                    say(f"emulated: unpacked {requirement} for aarch64 ({megabytes(found[-1])}) into {found[-1]}")
        return found


def cache() -> Path:
    """Where environments live; ``$XDG_CACHE_HOME`` names another place."""
    return Path(extras.require("platformdirs", "emulated").user_cache_dir("mfs-edge"), "emulated")


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """One builder at a time; the others wait and find it built.

    Raises:
        MissingDependency: ``folder`` cannot be written, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with extras.require("filelock", "emulated").FileLock(folder / ".lock"):
            for stale in (*folder.glob(f"{UNFINISHED}*"), *folder.glob(f"*/wheels/{UNFINISHED}*")):
                shutil.rmtree(stale)  # of a builder that was killed
            yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise MissingDependency(
            f"{folder}: the emulated device cannot be built ({reason}); free space, or name another place in "
            "$XDG_CACHE_HOME"
        ) from error


def emulator(folder: Path) -> list[str]:
    """QEMU under the dynamic linker and libraries that came with it."""
    host = folder / "host"
    linker = next((p for pattern in ("lib64/ld-linux*", "lib/ld-linux*") for p in sorted(host.glob(pattern))), None)
    if linker is None:
        raise MissingDependency(
            f"emulated: this distribution's {EMULATOR} is linked statically and loads no plugins; "
            f"name a sources.list of Debian 12 in ${apt.SOURCES}"
        )
    libraries = [p for pattern in ("lib/*-linux-gnu*", "usr/lib/*-linux-gnu*") for p in host.glob(pattern)]
    return [str(linker), "--library-path", ":".join(map(str, libraries)), str(host / "usr/bin" / EMULATOR)]


def megabytes(folder: Path) -> str:
    """What the files in ``folder`` take; another process may be adding and renaming some meanwhile."""
    size = 0
    for place, _, names in os.walk(folder):  # passes over folders that have gone
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += Path(place, name).lstat().st_size
    return f"{size / 1e6:.0f} MB"


def tell(line: str) -> None:
    """To whoever looks on; the standard output is for results."""
    sys.stderr.write(f"{printable(line)}\n")
