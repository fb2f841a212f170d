"""The table of passes can be regenerated."""

from __future__ import annotations

from benchmarks import passes as passes_table
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import passes
from mfs_edge.graph.build import build

SIZE = 64


def test_passes_table(demo_folded: FoldedIDN) -> None:
    lists = passes_table.in_sequence(1)
    graphs = {name: passes.run(build(demo_folded.weights(), size=SIZE), made) for name, made in lists.items()}
    rows = passes_table.measure(graphs, SIZE, runs=1, warmup=0)
    assert [row["pass"] for row in rows] == ["(none)", *(f"+ {kind.__name__}" for kind in passes.LEVELS[1])]
    assert rows[-1]["MACs"] < rows[0]["MACs"]
    assert all(float(row["max error"]) <= 1e-5 for row in rows)
    assert {"onnxruntime ratio", "OpenVINO in CPU time"} <= rows[0].keys()
    assert passes_table.alone(1).keys() == {"(none)", *(kind.__name__ for kind in passes.LEVELS[1])}
