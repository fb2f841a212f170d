"""Debian packages fetched by apt with private state, and unpacked instead of installed.

apt checks signatures and resolves dependencies as for a bare system (its list of installed
packages is empty). The system's own lists, caches and architectures stay as they are, so no
rights are needed.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from mfs_edge.base.errors import MissingDependency
from mfs_edge.emulation import calls

SOURCES = "MFS_EDGE_APT_SOURCES"  # a sources.list to use instead of the system's
TOOLS = ("apt-get", "dpkg-deb", "dpkg")
_SPACE = "free some space, or name another place in $XDG_CACHE_HOME"
# apt downloads as the user that runs it: its own sandbox user may not write into a home folder.
_CONFIG = """
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "2";
Dir::State "{state}";
Dir::State::status "{state}/status";
Dir::Cache "{cache}";
"""


@dataclass(frozen=True)
class Apt:
    """apt for one architecture, with all its state in ``folder``."""

    architecture: str
    folder: Path

    def resolve(self, names: tuple[str, ...]) -> list[int]:
        """The bytes of each package that ``names`` need, from nothing.

        Raises:
            MissingDependency: apt cannot be used, its servers not reached, or there is no such package.
        """
        self._prepare()
        incomplete = None
        try:
            self._call("update")
        except MissingDependency as error:  # of a source that has nothing to do with it, perhaps
            incomplete = error
        try:
            listed = self._call("install", "--print-uris", *names)
        except MissingDependency as error:
            raise (incomplete or error) from error
        rows = [shlex.split(line) for line in listed.splitlines() if line.startswith("'")]
        return [int(size) for _, _, size, *_ in rows]

    def unpack(self, names: tuple[str, ...], into: Path) -> None:
        """Download what :meth:`resolve` found and unpack it into ``into``."""
        self._call("install", "--download-only", *names)
        into.mkdir(parents=True, exist_ok=True)
        for package in sorted((self.folder / "cache/archives").glob("*.deb")):
            calls.output(["dpkg-deb", "-x", str(package), str(into)], f"{package.name} cannot be unpacked", _SPACE)
        _merge(into)

    def _prepare(self) -> None:
        for name in ("state/lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "state/status").touch()
        config = _CONFIG.format(
            architecture=self.architecture, state=self.folder / "state", cache=self.folder / "cache"
        )
        if SOURCES in os.environ:
            own = Path(os.environ[SOURCES]).resolve()
            config += f'Dir::Etc::sourcelist "{own}";\nDir::Etc::sourceparts "/dev/null";\n'
        (self.folder / "apt.conf").write_text(config)

    def _call(self, *arguments: str) -> str:
        what = f"apt finds no {self.architecture} packages of Python and QEMU here"
        environment = os.environ | {"APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C"}
        remedy = f"check the network, or name a sources.list that has them in ${SOURCES}"
        return calls.output(["apt-get", "--quiet=2", "--yes", *arguments], what, remedy, environment=environment)


def native() -> str:
    """Debian's name of this machine's architecture."""
    return calls.output(["dpkg", "--print-architecture"], "dpkg does not answer", "a Debian system is needed").strip()


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def system() -> str:
    """The distribution whose packages apt fetches here."""
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("NAME", "Debian").removesuffix(" GNU/Linux")
    return "Debian"


def caveat() -> str:
    """What a system with apt that is not Debian may lack; empty on Debian, or where sources are named."""
    if system() == "Debian" or SOURCES in os.environ:
        return ""
    return f"; where {system()}'s servers have no arm64, name a sources.list that has in ${SOURCES}"


def _merge(root: Path) -> None:
    """Newer packages leave /lib to a link that only an installed system has."""
    for name in ("bin", "lib", "lib64"):
        if (root / "usr" / name).exists() and not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
