"""A virtual environment per peer, built on first use and kept: ``peers.toml`` says what is in each."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import platformdirs

from mfs_edge.base.errors import MissingDependency

TABLE = Path(__file__).parent / "peers.toml"
READY = "ready"  # holds what was installed; written last


def requirements(name: str) -> list[str]:
    """What the environment of ``name`` is made of."""
    table = tomllib.loads(TABLE.read_text())
    return list(table[name]["requires"])


def cache() -> Path:
    """Where they are kept."""
    return Path(platformdirs.user_cache_dir("mfs-edge"), "peers")


def ensure(name: str, say: Callable[[str], None]) -> Path:
    """The interpreter of a peer's environment.

    Raises:
        MissingDependency: pip could not install it; with pip's own reason.
    """
    wanted = "\n".join(requirements(name))
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:8]
    folder = cache() / f"{name}-py{sys.version_info.major}.{sys.version_info.minor}-{digest}"
    python = folder / "bin" / "python"
    if (folder / READY).exists():
        return python
    say(f"{name}: installing {', '.join(wanted.splitlines())} into {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(folder)], name)
    _run([str(python), "-m", "pip", "install", "--quiet", *wanted.splitlines()], name)
    (folder / READY).write_text(wanted)
    return python


def _run(command: list[str], name: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise MissingDependency(f"{name}: cannot be installed ({said[0] if said else 'no reason given'})")
