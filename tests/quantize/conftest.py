"""The golden network's graph at a small size, with pictures for it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge import sample
from mfs_edge.base import images
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.quantize import samples
from mfs_edge.quantize.samples import Sample

SIZE = 64


def faces(numbers: range) -> list[np.ndarray]:
    return [images.to_nchw(images.resize(sample.target(i), SIZE)) for i in numbers]


@pytest.fixture(scope="session")
def small(golden_folded: FoldedIDN) -> ir.Model:
    """At level 1, 64 px; nobody may change it."""
    return passes.optimise(build.build(golden_folded.weights(), size=SIZE))


@pytest.fixture(scope="session")
def calibrating() -> list[np.ndarray]:
    return faces(range(32, 64, 4))


@pytest.fixture(scope="session")
def judging() -> list[np.ndarray]:
    return faces(range(0, 32, 8))


@pytest.fixture(scope="session")
def seen(small: ir.Model, calibrating: list[np.ndarray]) -> dict[str, Sample]:
    return samples.collect([small], calibrating)
