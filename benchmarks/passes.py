"""What every graph pass is worth, alone and in sequence: ``python benchmarks/passes.py``.

Counts and errors are exact and repeatable; the latency is that of the unoptimised graph over
that of the rewritten one, interleaved, one thread, median over turns. On a busy machine the
ratio in processor time is the steadier of the two. DropDead alone changes nothing: its row
is the noise floor.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx_ir as ir

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, only this folder is on the path

from benchmarks import peerlib
from benchmarks.peer_child import Ours, timed
from benchmarks.peer_race import race
from mfs_edge import target
from mfs_edge.graph import build, passes
from mfs_edge.graph.cost import count
from mfs_edge.graph.passes.base import GraphPass
from mfs_edge.measure import luggage

PLAIN = "(none)"
# What reads ONNX.
ENGINES = {
    title: str(luggage.engine_file(target.get(name)))
    for title, name in (("onnxruntime", "onnx"), ("OpenVINO", "openvino"))
}
# Rewrites that leave something for DropDead; alone, it comes with them.
LEAVES_DEAD = (passes.BlendForm,)


@click.command(help=__doc__)
@click.option("--size", default=224, show_default=True)
@click.option("--runs", default=60, show_default=True)
@click.option("--warmup", default=5, show_default=True)
@click.option("--level", default=1, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here too.")
def main(size: int, runs: int, warmup: int, level: int, json_path: Path | None) -> None:
    weights = peerlib.demo_weights()
    for title, lists in (("alone", alone(level)), ("in sequence", in_sequence(level))):
        graphs = {name: passes.run(build.build(weights, size=size), made) for name, made in lists.items()}
        rows = measure(graphs, size, runs=runs, warmup=warmup)
        peerlib.show(f"Passes {title}, {size} px", rows)
        if json_path is not None:
            peerlib.save(json_path.with_stem(f"{json_path.stem}-{title.replace(' ', '-')}"), {"rows": rows})


def alone(level: int) -> dict[str, list[GraphPass]]:
    """Each pass by itself on the plain graph."""
    lists: dict[str, list[GraphPass]] = {PLAIN: []}
    for kind in passes.LEVELS[level]:
        lists[kind.__name__] = [kind(), passes.DropDead()] if kind in LEAVES_DEAD else [kind()]
    return lists


def in_sequence(level: int) -> dict[str, list[GraphPass]]:
    """The level's list, one pass longer at a time."""
    kinds = passes.LEVELS[level]
    grown = {f"+ {kind.__name__}": [each() for each in kinds[: i + 1]] for i, kind in enumerate(kinds)}
    return {PLAIN: [], **grown}


def measure(graphs: dict[str, ir.Model], size: int, *, runs: int, warmup: int) -> list[dict[str, Any]]:
    """A row per graph; the first is what the others are compared with."""
    loaded: dict[str, dict[str, Ours]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        for name, graph in graphs.items():
            ir.save(graph, path)
            loaded[name] = {kind: Ours(engine, str(path), 1) for kind, engine in ENGINES.items()}
    ran = {name: [each.run(peerlib.frame(size)) for each in kinds.values()] for name, kinds in loaded.items()}
    calls = {kind + name: partial(timed, each.infer) for name, kinds in loaded.items() for kind, each in kinds.items()}
    taken = race(calls, turns=runs, warmup=warmup)
    rows = []
    for name, graph in graphs.items():
        cost = count(graph)
        error = max(float(np.abs(ran[name][0][key] - plain).max()) for key, plain in ran[PLAIN][0].items())
        row = {"pass": name, "nodes": len(cost.nodes), "MACs": cost.macs, "peak bytes": cost.peak_bytes}
        row |= {"max error": f"{error:.1e}"}
        for kind in ENGINES:
            row |= zip((f"{kind} ratio", f"{kind} in CPU time"), taken.ratio(kind + PLAIN, kind + name), strict=True)
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
