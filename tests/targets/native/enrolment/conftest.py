"""A small graph with every operator as a folder of C, and a crop as the harness reads it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from mfs_edge.targets.native import NativeTarget

from mfs_edge.target import ENROL, EmitOptions
from tests.targets.native.enrolment import zoo

Written = Callable[[str], tuple[Path, ir.Model]]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The folder and the graph, by what the payload is rounded to; never change them in place."""
    folder = tmp_path_factory.mktemp("zoo")

    @functools.cache
    def write(payload: str) -> tuple[Path, ir.Model]:
        model, path = zoo.whole(payload), folder / f"enrol-{payload}.idn"
        NativeTarget().emit(model, path, EmitOptions("fp32", task=ENROL, metadata={"task": ENROL}))
        return path, model

    return write


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "crop.raw"
    zoo.crop(0).tofile(path)
    return path


def near(found: np.ndarray, wanted: np.ndarray) -> None:
    """What float32 leaves of numbers of some 0.01 to 100."""
    assert found.shape == wanted.shape
    assert (np.isnan(found) == np.isnan(wanted)).all()
    np.testing.assert_allclose(found, wanted, rtol=3e-5, atol=1e-4)
