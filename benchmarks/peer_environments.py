"""A virtual environment per peer, built on first use and kept: ``peers.toml`` says what is in each."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import platformdirs

from mfs_edge.base.errors import CheckFailed, MissingDependency

HERE = Path(__file__).parent
READY = "ready"  # holds what was installed; written last


def requirements() -> dict[str, list[str]]:
    """What the environment of each peer is made of; peers without one run in this."""
    table = tomllib.loads((HERE / "peers.toml").read_text())
    return {name: list(entry["requires"]) for name, entry in table.items()}


def python(name: str) -> str:
    """The interpreter of a peer's environment.

    Raises:
        MissingDependency: pip could not install it; with pip's own reason.
    """
    wanted = requirements().get(name)
    if wanted is None:
        return sys.executable
    digest = hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:8]
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(platformdirs.user_cache_dir("mfs-edge"), "peers", f"{name}-{version}-{digest}")
    found = str(folder / "bin" / "python")
    if not (folder / READY).exists():
        click.echo(f"{name}: installing {', '.join(wanted)} into {folder}", err=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        for command in ([sys.executable, "-m", "venv", str(folder)], [found, "-m", "pip", "install", "-q", *wanted]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = done.stderr.splitlines() or ["no reason given"]
                reason = next((line for line in lines if line.startswith("ERROR")), lines[0])
                raise MissingDependency(f"{name}: cannot be installed ({reason})")
        (folder / READY).write_text("\n".join(wanted))
    return found


def run(name: str, script: str, *arguments: object) -> str:
    """What a script of this folder prints on its last line, run in a peer's environment.

    Raises:
        MissingDependency: the environment cannot be had.
        CheckFailed: the script failed; with its last line.
    """
    command = [python(name), str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailed(f"{name} failed: {last_line(done.stderr) or 'no reason given'}")
    return last_line(done.stdout, 10_000)


def last_line(text: str, most: int = 200) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:most] if lines else ""
