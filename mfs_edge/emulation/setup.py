"""Build the emulated environment in a cache folder, once; ``python -m mfs_edge.emulation.setup``.

The folder is ``$XDG_CACHE_HOME/mfs-edge/emulated`` (``~/.cache/...``) and may be deleted at any
time. Inside, per distribution and version of this recipe:

    host/       QEMU's user-mode emulator and every library of its own, for this machine
    root/       Python and its libraries for aarch64
    rpi5/ ...   root/ by links, with that board's /proc/cpuinfo and /sys/devices/system/cpu
    wheels/     runtimes for aarch64, one folder per version
    plugin-*.so the instruction counter
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from mfs_edge import target
from mfs_edge.base import extras, files
from mfs_edge.base.errors import MissingDependency
from mfs_edge.emulation import apt, calls
from mfs_edge.emulation.boards import BOARDS, Board
from mfs_edge.emulation.environment import (
    EMULATOR,
    UNFINISHED,
    Environment,
    Installed,
    Say,
    cache,
    emulator,
    lock,
    megabytes,
    tell,
)
from mfs_edge.measure.devices import Availability

RECIPE = 1  # raise when what is installed changes
HOST_PACKAGES = ("qemu-user",)
GUEST_PACKAGES = ("python3", "libstdc++6")
# Bytes, on Debian 12: of downloads, of disk in the end, and of disk while building.
FETCHED, KEPT, NEEDED = 90_000_000, 270_000_000, 600_000_000
_SURPLUS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var", "etc/init.d")
_PLUGIN = Path(__file__).with_name("plugin.c")
_INSTALL_COMPILER = "apt-get install gcc libc6-dev"
_NEW_PLUGIN_API = 9  # QEMU 9 refuses plugins of interface 1, older ones know no other
_QUESTION = (
    "import contextlib, json, os, platform, sys\n"
    "with contextlib.suppress(OSError): os.getpriority(os.PRIO_PROCESS, 0x6d6673)\n"
    "print(json.dumps({'python': '%d.%d' % sys.version_info[:2], 'glibc': platform.libc_ver()[1],"
    " 'machine': platform.machine(), 'cores': os.cpu_count()}))"
)


def available() -> Availability:
    """Looks, but starts, fetches and writes nothing; the network is not asked."""
    if not sys.platform.startswith("linux"):
        return Availability(False, False, "QEMU's user-mode emulator exists on Linux only")
    if absent := [module for module in ("platformdirs", "filelock") if not extras.available(module)]:
        return Availability(False, False, f"{' and '.join(absent)} missing; pip install 'mfs-edge[emulated]'")
    folder = _place()
    built = (folder / "installed.json").exists()
    if _compiler() is None and not (built and any(folder.glob(_plugin_name("*")))):
        lacking = f"no C compiler, which builds the instruction counter; install one: {_INSTALL_COMPILER}"
        return Availability(False, built, lacking)
    if built:
        return Availability(True, True, f"ready in {folder} ({megabytes(folder)})")
    if lacking := _lacking(folder):
        return Availability(False, False, lacking)
    said = (
        f"will be built on first use, without root: fetches about {FETCHED // 1_000_000} MB of {apt.system()}'s "
        f"packages and of wheels, keeps about {KEPT // 1_000_000} MB in {folder}{apt.caveat()}"
    )
    return Availability(True, False, said)


def _lacking(folder: Path) -> str:
    """What stands in the way of building it in ``folder``, and the way out; empty if nothing does."""
    if lacking := apt.missing_tools():
        return f"needs Debian's package tools, and {', '.join(lacking)} is missing"
    if not extras.available("pip"):
        return "pip is missing, which fetches wheels; install it: python -m ensurepip"
    existing = next(parent for parent in folder.parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} may not be written; name another place in $XDG_CACHE_HOME"
    if shutil.disk_usage(existing).free < NEEDED:
        return f"{existing} has less than {NEEDED // 1_000_000} MB free; name another place in $XDG_CACHE_HOME"
    return ""


def ensure(say: Say) -> Environment:
    """The environment, built if it is not there; ``say`` is told what is installed.

    Raises:
        MissingDependency: it cannot be had here; the message says why and the way out.
    """
    found = available()
    if not found.possible:
        raise MissingDependency(f"emulated: cannot be had here: {found.said}")
    folder = _place()
    with lock(folder.parent):
        if not (folder / "installed.json").exists():
            _build(folder, say)
        stored = json.loads((folder / "installed.json").read_text())
        installed = Installed(**stored | {"cpus": tuple(stored["cpus"])})
        return Environment(folder, installed, _plugin(folder, installed.qemu))


def _place() -> Path:
    """One folder per distribution, its version and the host's architecture."""
    with contextlib.suppress(OSError):
        release = platform.freedesktop_os_release()
        system = f"{release['ID']}-{release.get('VERSION_ID', 'testing')}"
        return cache() / f"{system}-{platform.machine()}-{RECIPE}"
    return cache() / f"{platform.machine()}-{RECIPE}"


def _build(folder: Path, say: Say) -> None:
    """Everything but wheels and plugin, in a folder that gets its name when it is complete."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=UNFINISHED) as scratch:
        new = Path(scratch, "environment")
        new.mkdir()
        count = 0
        parts = (("host", HOST_PACKAGES, apt.native()), ("root", GUEST_PACKAGES, "arm64"))
        for part, names, architecture in parts:
            source = apt.Apt(architecture, Path(scratch, f"apt-{part}"))
            packages = source.resolve(names)
            say(
                f"emulated: fetching {', '.join(names)} and what they need for {architecture}: {len(packages)} packages"
                f" of the distribution, {sum(packages) / 1e6:.0f} MB; they are unpacked into {folder}, not installed"
            )
            source.unpack(names, new / part)
            count += len(packages)
        _prune(new)
        for board in BOARDS.values():
            _prefix(new, board)
        installed = _prove(new, count)
        (new / "installed.json").write_text(json.dumps(asdict(installed), indent=1) + "\n")
        if folder.exists():  # what an interrupted earlier version left
            shutil.rmtree(folder)
        new.rename(folder)
    say(f"emulated: built once and kept, {megabytes(folder)}; delete {folder} to be rid of it")


def _prune(folder: Path) -> None:
    """Emulators of other CPUs are most of QEMU's package."""
    for program in (folder / "host/usr/bin").glob("*"):
        if program.name != EMULATOR:
            program.unlink()
    for part in ("host", "root"):
        for name in _SURPLUS:
            shutil.rmtree(folder / part / name, ignore_errors=True)


def _prefix(folder: Path, board: Board) -> None:
    """Where the guest's files are looked up first: the common ones by links, and the board's own."""
    prefix = folder / board.name
    prefix.mkdir()
    for entry in (folder / "root").iterdir():
        (prefix / entry.name).symlink_to(Path("..", "root", entry.name))
    board.write(prefix)


def _prove(folder: Path, packages: int) -> Installed:
    """Run it once, and keep what it says of itself."""
    command = emulator(folder)
    names = _output([*command, "-cpu", "help"], codes=(0, 1)).split()  # it answers, and exits with 1
    version = _output([*command, "--version"]).split("version ")[1].split()[0]
    pythons = [p for p in (folder / "root/usr/bin").glob("python3.*") if p.name.removeprefix("python3.").isdigit()]
    if not pythons:
        raise MissingDependency("emulated: the distribution's python3 package holds no interpreter; report this")
    log = folder / "counts"
    counting = ["-plugin", str(_plugin(folder, version)), "-d", "plugin", "-D", str(log)]
    said = json.loads(_output([*command, *counting, "-L", str(folder / "rpi5"), str(pythons[0]), "-c", _QUESTION]))
    if not log.exists() or not log.read_text().strip().isdigit():
        raise MissingDependency(
            f"emulated: QEMU {version} does not count; name a sources.list of Debian 12 in ${apt.SOURCES}"
        )
    if said["machine"] != "aarch64":
        raise MissingDependency(f"emulated: the guest runs on {said['machine']}, not aarch64; report this")
    return Installed(said["python"], said["glibc"], version, tuple(names), packages)


def _plugin_name(api: str) -> str:
    """Of the counter as it is now; another source is another file. ``*`` for any interface."""
    return f"plugin-{hashlib.sha256(_PLUGIN.read_bytes()).hexdigest()[:12]}-{api}.so"


def _plugin(folder: Path, qemu: str) -> Path:
    """The instruction counter, compiled for this QEMU."""
    api = 2 if int(qemu.split(".")[0]) >= _NEW_PLUGIN_API else 1
    path = folder / _plugin_name(str(api))
    if path.exists():
        return path
    compiler = _compiler()
    if compiler is None:
        raise MissingDependency(f"emulated: no C compiler; install one: {_INSTALL_COMPILER}")
    with files.atomic(path) as temporary:
        command = [compiler, "-O2", "-shared", "-fPIC", f"-DPLUGIN_API={api}", "-o", str(temporary), str(_PLUGIN)]
        _output(command, remedy=f"install the C library's headers: {_INSTALL_COMPILER}")
    return path


def _compiler() -> str | None:
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def _output(command: list[str], codes: tuple[int, ...] = (0,), *, remedy: str = "") -> str:
    what = f"{Path(command[0]).name} does not work here"
    return calls.output(command, what, remedy or f"delete {cache()}, try again", codes=codes)


def main() -> int:
    """Build it, and say what was installed."""
    environment = ensure(tell)
    for kind in target.registered().values():
        if not kind.systems:
            environment.modules(kind.suffix, tell)
    sys.stdout.write(f"{environment.folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
