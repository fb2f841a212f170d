"""Graphs that several targets write."""

from __future__ import annotations

import functools

import onnx_ir as ir
import pytest

from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.quantize import quantise
from tests.targets.integers import SIZE, Graphs, faces


def graphs(folded: FoldedIDN) -> Graphs:
    plain = passes.optimise(build.build(folded.weights(), size=SIZE))

    @functools.cache
    def make(precision: str) -> ir.Model:
        return plain if precision == "fp32" else quantise(plain, faces(range(32, 48, 2)), precision=precision).model

    return make


@pytest.fixture(scope="session")
def integers(golden_folded: FoldedIDN) -> Graphs:
    """``integers("int8")`` -> the golden network's graph, quantised on the demo's faces."""
    return graphs(golden_folded)


@pytest.fixture(scope="session")
def demo_integers(demo_folded: FoldedIDN) -> Graphs:
    """The same of the demo's network."""
    return graphs(demo_folded)


@pytest.fixture(params=["golden int8", "golden int8-mixed", "demo int8", "demo int8-mixed"])
def every_integers(request: pytest.FixtureRequest, integers: Graphs, demo_integers: Graphs) -> tuple[ir.Model, str]:
    """A quantised graph and its precision, of both networks."""
    network, precision = request.param.split()
    return (integers if network == "golden" else demo_integers)(precision), precision
