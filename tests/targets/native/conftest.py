"""Folders of generated C that several files test, and the tools that they are tested with."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from mfs_edge.targets.native import NativeTarget, engine

from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.target import EmitOptions

SETUP = Path(__file__).parent / "setup_tools.sh"
SHIPPED = engine.FLAGS


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled() -> Iterator[None]:
    """-O1 takes half as long as -O3 to compile, and most tests are not about speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "FLAGS", ("-O1", *(flag for flag in SHIPPED if flag != "-O3")))
        yield


@pytest.fixture
def as_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled as users' are."""
    monkeypatch.setattr(engine, "FLAGS", SHIPPED)


@pytest.fixture(scope="session")
def tools() -> None:
    """Compilers, emulators and valgrind are there."""
    subprocess.run([str(SETUP)], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def made(golden_folded: FoldedIDN, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The golden network as C, by size; never change it in place."""
    folder = tmp_path_factory.mktemp("made")

    @functools.cache
    def make(size: int) -> Path:
        path = folder / f"idn-{size}.idn"
        graph = passes.optimise(build.build(golden_folded.weights(), size=size), level=1)
        NativeTarget().emit(graph, path, EmitOptions())
        return path

    return make


@pytest.fixture(scope="session")
def raw(golden: Mapping[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A picture as the harness reads it, by size: the golden one, or its corner."""
    folder = tmp_path_factory.mktemp("raw")

    @functools.cache
    def write(size: int) -> Path:
        image = golden[f"target{256 if size == 256 else 224}/image"].astype(np.float32) / 255
        path = folder / f"{size}.raw"
        image.transpose(2, 0, 1)[:, :size, :size].tofile(path)
        return path

    return write
