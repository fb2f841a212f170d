"""The C as a shared library for another machine, by the compiler that comes as a Python package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from mfs_edge.base.errors import MissingDependency
from mfs_edge.target import Machine

from . import engine

OLDEST_GLIBC = "2.17"  # the oldest that the newest runtimes' wheels ask for, too
PROCESSORS = {
    "x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64", "armv7l": "arm", "armv8l": "arm",
    "riscv64": "riscv64", "i686": "x86", "i386": "x86", "ppc64le": "powerpc64le",
}  # fmt: skip
NARROW = {"aarch64": "arm", "x86_64": "x86"}  # what programs of 32 bits are on a processor of 64


def library(folder: Path, machine: Machine) -> dict[str, bytes]:
    """``lib/NAME`` -> the library for ``machine``, as the engine looks for it there.

    Raises:
        MissingDependency: ``ziglang`` is not installed, or does not compile for such a machine.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise MissingDependency(
            f"{folder}: is compiled here for {machine.system} on {machine.machine}, and ziglang is not installed; "
            "install it with: pip install 'mfs-edge[native]'"
        )
    name = engine.library_name(machine.system, machine.machine)
    zig = [sys.executable, "-m", "ziglang"]
    version = subprocess.run([*zig, "version"], capture_output=True, text=True, check=False).stdout.strip()
    command = [*zig, "cc", *engine.ZIG_FLAGS, "-s", "-target", triple(machine)]
    try:
        made = engine.compiled(folder, command, f"zig {version}", suffix=Path(name).suffix)
    except RuntimeError as error:
        raise MissingDependency(
            f"{folder}: cannot be compiled here for {machine.system} on {machine.machine} ({error}); compile it there"
        ) from error
    return {f"lib/{name}": made.read_bytes()}


def triple(machine: Machine) -> str:
    """What zig calls ``machine``.

    Raises:
        MissingDependency: it is none that is compiled for.
    """
    processor = PROCESSORS.get(machine.machine.lower())
    if processor and machine.bits == 32:
        processor = NARROW.get(processor, processor)
    if processor and machine.system == "Darwin":
        return f"{processor}-macos"
    if processor is None or machine.system != "Linux":
        known = ", ".join(dict.fromkeys(PROCESSORS.values()))
        raise MissingDependency(
            f"target c compiles for Linux and macOS devices on {known}, not for {machine.system} on "
            f"{machine.machine}; compile the folder there by its CMakeLists.txt"
        )
    float_calls = "eabihf" if processor == "arm" else ""
    return (
        f"{processor}-linux-gnu{float_calls}.{OLDEST_GLIBC}"
        if machine.libc == "glibc"
        else (f"{processor}-linux-musl{float_calls}")
    )
