"""Packages from npm, in the user's cache: fetched once for each set of versions."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mfs_edge.base.errors import CheckFailed, MissingDependency


def installed(packages: Mapping[str, str]) -> Path:
    """The folder ``node_modules`` with ``packages``, name -> version.

    Raises:
        MissingDependency: npm is not installed.
        CheckFailed: npm cannot install them; with its words.
    """
    wanted = [f"{name}@{version}" for name, version in sorted(packages.items())]
    home = Path(os.environ.get("MFS_EDGE_CACHE") or Path.home() / ".cache" / "mfs-edge", "npm")
    place = home / hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:16]
    if not place.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise MissingDependency("npm is not found; install it (apt-get install npm)")
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as room:
            made = Path(room, "made")
            made.mkdir()
            _run([npm, "install", "--prefix", str(made), "--ignore-scripts", "--no-audit", "--no-fund", *wanted])
            if not place.exists():  # another process may have been quicker
                made.rename(place)
    return place / "node_modules"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise CheckFailed(f"{' '.join(command[:2])}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
