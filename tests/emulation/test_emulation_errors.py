"""Whatever an emulated Pi lacks is one line and exit 3, from the command line as users call it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from mfs_edge.emulation import apt

pytestmark = pytest.mark.emulated


def bench(artefacts: Path, into: Path, *, before: str = "", **changes: str) -> str:
    """What ``bench`` says of an emulated Pi that nothing has been built for; it must end with 3 and one line."""
    words = f"exec '{sys.executable}' -m mfs_edge bench '{artefacts / 'idn.onnx'}' --device emulated:rpi5"
    environment: Mapping[str, str] = os.environ | {"XDG_CACHE_HOME": str(into)} | changes
    done = subprocess.run(
        ["/bin/bash", "-c", f"{before} {words}"], capture_output=True, text=True, env=environment, check=False
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("emulated: fetching")]
    assert (done.returncode, len(lines), done.stdout) == (3, 1, ""), done.stderr
    assert not list(into.glob("mfs-edge/emulated/*/installed.json"))
    return lines[0]


def programs(folder: Path, *names: str) -> str:
    """A $PATH of these alone."""
    for name in names:
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


def test_a_place_that_may_not_be_written(artefacts: Path) -> None:
    assert "name another place in $XDG_CACHE_HOME" in bench(artefacts, Path("/proc"))


def test_a_file_in_the_way(artefacts: Path, tmp_path: Path) -> None:
    (tmp_path / "mfs-edge").touch()
    assert "mfs-edge may not be written; name another" in bench(artefacts, tmp_path)


def test_another_distribution(artefacts: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    said = bench(artefacts, tmp_path / "cache", PATH=programs(tmp_path / "bin", "cc"))
    assert "needs Debian's package tools, and apt-get, dpkg-deb, dpkg is missing" in said


def test_no_compiler(artefacts: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    said = bench(artefacts, tmp_path / "cache", PATH=programs(tmp_path / "bin", *apt.TOOLS))
    assert "install one: apt-get install gcc libc6-dev" in said


def test_packages_that_may_not_be_read(artefacts: Path, tmp_path: Path) -> None:
    """Sources that apt is not allowed to use: here because nobody has signed them."""
    (tmp_path / "unsigned").mkdir()
    (tmp_path / "unsigned/Packages").touch()
    sources = tmp_path / "sources.list"
    sources.write_text(f"deb file:{tmp_path}/unsigned ./\n")
    said = bench(artefacts, tmp_path / "cache", MFS_EDGE_APT_SOURCES=str(sources))
    assert "is not signed" in said or "does not have a Release file" in said
    assert apt.SOURCES in said


def test_a_disk_that_fills_up(artefacts: Path, tmp_path: Path) -> None:
    """Files end at 8 kB there, which no package list fits in; what a full disk does comes the same way."""
    said = bench(artefacts, tmp_path / "cache", before="ulimit -f 8; trap '' XFSZ;")
    assert "emulated" in said
    assert not list((tmp_path / "cache").rglob("*.deb"))


def test_a_runtime_version_without_an_aarch64_wheel(artefacts: Path, tmp_path: Path) -> None:
    """The package index is asked for what is installed here, which is a version that never was."""
    for name in ("numpy", "onnxruntime"):
        (tmp_path / f"{name}-0.0.1.dist-info").mkdir()
        (tmp_path / f"{name}-0.0.1.dist-info/METADATA").write_text(f"Name: {name}\nVersion: 0.0.1\n")
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    words = [sys.executable, "-m", "mfs_edge", "bench", str(artefacts / "idn.onnx"), "--device", "emulated:rpi5"]
    environment = os.environ | {"XDG_CACHE_HOME": cache, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert "no wheel of numpy==0.0.1 for Python 3.11 on aarch64" in done.stderr.splitlines()[-1]
