"""Runtimes for aarch64: manylinux wheels, unpacked beside each other."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from mfs_edge import target
from mfs_edge.base import extras
from mfs_edge.base.errors import MissingDependency
from mfs_edge.emulation import calls

UNFINISHED = ".new-"  # a folder that is still being filled; the next builder removes it
_OLDEST = 17  # glibc 2.17, the oldest that aarch64 wheels are made for


def wanted(suffix: str) -> list[str]:
    """What an artefact needs inside, in the versions that are installed here."""
    kind = target.of_file(Path(f"artefact{suffix}"))
    packages = () if kind.compiled else (importlib.import_module(kind.engine).Engine.PACKAGE,)
    return [_pinned(name) for name in ("numpy", *packages)]


def _pinned(distribution: str) -> str:
    try:
        return f"{distribution}=={metadata.version(distribution)}"
    except metadata.PackageNotFoundError:
        return distribution  # the newest


def unpack(requirement: str, *, python: str, glibc: str, into: Path) -> Path:
    """The folder that holds ``requirement``, made if need be.

    Args:
        requirement: ``name`` or ``name==version``.
        python: the guest's, as in "3.11".
        glibc: the guest's, as in "2.36".
        into: holds one folder per requirement.

    Raises:
        MissingDependency: there is no such wheel, or the package index cannot be reached.
    """
    folder = into / f"{requirement.replace('==', '-')}-py{python}"
    if folder.exists():
        return folder
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=UNFINISHED) as scratch:
        _install(requirement, python, glibc, Path(scratch, "unpacked"))
        Path(scratch, "unpacked").rename(folder)
    return folder


def _install(requirement: str, python: str, glibc: str, folder: Path) -> None:
    if not extras.available("pip"):
        raise MissingDependency("emulated: pip is missing, which fetches wheels; install it: python -m ensurepip")
    newest = int(glibc.split(".")[1])
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(newest, _OLDEST - 1, -1)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:"]
    command += [*platforms, "--platform=manylinux2014_aarch64", "--implementation=cp", f"--python-version={python}"]
    command += [f"--target={folder}", requirement]
    calls.output(
        command,
        f"no wheel of {requirement} for Python {python} on aarch64",
        "install a version here that has one, or check the network",
        environment=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
