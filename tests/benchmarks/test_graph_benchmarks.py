"""The graph's benchmarks can be regenerated, and refuse to time two different networks."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import passes as passes_table
from benchmarks import peerlib, peers_onnx
from mfs_edge.base.errors import CheckFailed
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import passes
from mfs_edge.graph.build import build

SIZE = 64


@pytest.fixture(scope="module")
def weights(demo_folded: FoldedIDN) -> peerlib.Arrays:
    return demo_folded.weights()


def test_peers_rows(weights: peerlib.Arrays) -> None:
    rows = peers_onnx.compare(peers_onnx.convert(weights, SIZE), SIZE, threads=1, runs=2, warmup=1)
    assert [row["runtime"] for row in rows] == ["onnxruntime", "onnxruntime", "OpenVINO", "OpenVINO"]
    ours, theirs = rows[:2]
    assert ours["model of"] == "mfs-edge"
    assert theirs["model of"].startswith("torch.onnx.export")
    assert ours["nodes"] < theirs["nodes"]
    assert ours["bytes"] < theirs["bytes"]
    assert theirs["times as fast"] == 1


def test_another_network_is_not_timed(weights: peerlib.Arrays) -> None:
    files = peers_onnx.convert(weights, SIZE)
    other = {key: value * np.float32(1.1) if key.startswith("mask.5") else value for key, value in weights.items()}
    files["mfs-edge"] = peers_onnx.convert(other, SIZE)["mfs-edge"]
    with pytest.raises(CheckFailed, match="not of one network"):
        peers_onnx.compare(files, SIZE, threads=1, runs=1, warmup=0)


def test_passes_table(weights: peerlib.Arrays) -> None:
    lists = passes_table.in_sequence(1)
    graphs = {name: passes.run(build(weights, size=SIZE), made) for name, made in lists.items()}
    rows = passes_table.measure(graphs, SIZE, runs=1, warmup=0)
    assert [row["pass"] for row in rows] == ["(none)", *(f"+ {kind.__name__}" for kind in passes.LEVELS[1])]
    assert rows[-1]["MACs"] < rows[0]["MACs"]
    assert all(float(row["max error"]) <= 1e-5 for row in rows)
    assert passes_table.alone(1).keys() == {"(none)", *(kind.__name__ for kind in passes.LEVELS[1])}
