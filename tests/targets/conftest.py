"""Graphs that several targets write."""

from __future__ import annotations

import functools

import onnx_ir as ir
import pytest

from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.quantize import quantise
from tests.targets.integers import SIZE, Graphs, faces


@pytest.fixture(scope="session")
def integers(golden_folded: FoldedIDN) -> Graphs:
    """``integers("int8")`` -> the golden network's graph, quantised on the demo's faces."""
    plain = passes.optimise(build.build(golden_folded.weights(), size=SIZE))

    @functools.cache
    def make(precision: str) -> ir.Model:
        return plain if precision == "fp32" else quantise(plain, faces(range(32, 48, 2)), precision=precision).model

    return make
