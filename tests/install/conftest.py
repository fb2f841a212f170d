"""Environments as users make them: a wheel of this repository, an extra, the lowest or the highest versions.

uv resolves to the lowest and installs by links, so that an environment takes seconds. torch comes from where pip
takes it, as for ``make``: the newest one on the public index is gigabytes of CUDA.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from mfs_edge import target
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.load.identity import Identity, save
from mfs_edge.target import EmitOptions

REPOSITORY = Path(__file__).parents[2]
SOURCES = ("mfs_edge", "targets", "pyproject.toml", "README.md", "LICENSE")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
UV = str(Path(sys.executable).with_name("uv"))
SIZE = 64
Install = Callable[..., "Environment"]


def called(*command: str | Path, folder: Path | None = None) -> str:
    """Its standard output; what it complained of is in the failure."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@dataclass(frozen=True)
class Environment:
    """An installed mfs-edge, and a folder to work in."""

    python: Path
    folder: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """``mfs-edge ARGUMENTS``, whatever the caller's settings, and without the system's compilers."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MFS_EDGE", "GITHUB", "CC"))}
        ours["PATH"] = str(self.python.parent)
        command = [str(self.python.with_name("mfs-edge")), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=ours, timeout=300)

    def succeeds(self, *arguments: str | Path) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr[-3000:]}"
        return done.stdout

    def refuses(self, code: int, *arguments: str | Path) -> str:
        """The one line that it says."""
        done = self.run(*arguments)
        said = [line for line in done.stderr.splitlines() if line.startswith("mfs-edge: ")]
        assert (done.returncode, len(said)) == (code, 1), f"{arguments}: {done.returncode}, {done.stderr[-3000:]}"
        return said[0]

    def json(self, *arguments: str | Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.succeeds(*arguments, "--json"))
        return found

    def modules(self) -> set[str]:
        """Distributions that are installed, by name."""
        listed = json.loads(called(UV, "pip", "list", "--python", self.python, "--format", "json"))
        return {entry["name"] for entry in listed}


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    return tmp_path_factory.mktemp("shared") if alone else tmp_path_factory.getbasetemp().parent


@pytest.fixture(scope="session")
def wheels(shared: Path) -> Path:
    """A folder with the wheels of this repository and of torch."""
    folder = shared / "wheels"
    with FileLock(shared / "wheels.lock"):
        if not folder.exists():
            copy = shared / "source"  # a build writes into the folder that it builds
            copy.mkdir()
            for name in SOURCES:
                clean = shutil.ignore_patterns("__pycache__", "*.egg-info")
                if (REPOSITORY / name).is_dir():
                    shutil.copytree(REPOSITORY / name, copy / name, ignore=clean)
                else:
                    shutil.copyfile(REPOSITORY / name, copy / name)
            pinned = next(line for line in (REPOSITORY / "constraints.txt").read_text().split() if "torch==" in line)
            called(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", shared / "new", pinned)
            called(UV, "build", "--quiet", "--wheel", "--out-dir", shared / "new", copy)
            (shared / "new").rename(folder)
    return folder


@pytest.fixture
def install(wheels: Path, tmp_path: Path) -> Install:
    """Makes an environment of ``extras`` and bare ``runtimes``, in the versions of a resolution."""

    def install(*extras: str, resolution: str, runtimes: tuple[str, ...] = ()) -> Environment:
        python = tmp_path / "venv/bin/python"
        called(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
        (torch,), (ours,) = wheels.glob("torch-*"), wheels.glob("mfs_edge-*")
        (tmp_path / "constraints.txt").write_text(f"torch=={torch.name.split('-')[1]}\n")
        chosen = [word for extra in extras for word in ("--extra", extra)]
        everything = list(itertools.chain(*PROJECT["optional-dependencies"].values()))
        bare = [next(r for r in everything if r.startswith(f"{name}>")) for name in runtimes]
        install = (UV, "pip", "install", "--quiet", "--python", python)
        called(
            *(*install, "--resolution", resolution, "--find-links", wheels, "-c", tmp_path / "constraints.txt"),
            *("-r", REPOSITORY / "pyproject.toml", *chosen, *bare),
        )
        called(*install, "--no-deps", ours)
        called(UV, "pip", "check", "--quiet", "--python", python)
        (tmp_path / "work").mkdir()
        return Environment(python, tmp_path / "work")

    return install


@pytest.fixture(scope="session")
def formats(tmp_path_factory: pytest.TempPathFactory, demo_folded: FoldedIDN) -> dict[str, Path]:
    """An artefact of every target, written here."""
    folder = tmp_path_factory.mktemp("formats")
    graph = passes.optimise(build.build(demo_folded.weights(), size=SIZE), level=1)
    written = {}
    for name, kind in target.registered().items():
        written[name] = folder / f"idn{kind.suffix}"
        kind.emit(graph, written[name], EmitOptions(precision=kind.default_precision, io=kind.default_io))
    return written


@pytest.fixture(scope="session")
def identity_file(tmp_path_factory: pytest.TempPathFactory, check: dict[str, np.ndarray]) -> Path:
    path = tmp_path_factory.mktemp("identity") / "id.npy"
    save(Identity(check["identity/embedding"][0], check["identity/feature_map"][0]), path)
    return path
