"""Ours against OpenVINO's own converter, on the demo network.

The peer is what its documentation tells a PyTorch user to do: ``ov.convert_model`` on the
plain module, then ``ov.save_model`` with fp16-compressed weights. Both files are then run
by the same runtime with the same settings, frame by frame in turn.

    python benchmarks/peers_openvino.py --size 224 --threads 2
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

PLUMBING = ("Parameter", "Result", "Constant", "Convert")  # Convert: fp16 weights widened at load


def run(*, size: int = 224, threads: int = 1, rounds: int = 100) -> list[dict[str, Any]]:
    """One row per toolchain: operators, bytes, conversion seconds, interleaved latency."""
    import openvino as ov

    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.xml", Path(folder) / "peer.xml"
        seconds = {"mfs-edge": _write_ours(ours, size), "ov.convert_model": _write_theirs(theirs, size)}
        paths = dict(zip(seconds, (ours, theirs), strict=True))
        core = ov.Core()
        models = {name: core.read_model(path) for name, path in paths.items()}
        compiled = {name: core.compile_model(model, "CPU", config) for name, model in models.items()}
        latency = interleaved([_caller(model, size) for model in compiled.values()], rounds=rounds)
        return [
            {
                "toolchain": name,
                "operators": sum(op.get_type_name() not in PLUMBING for op in models[name].get_ops()),
                "at run time": len(compiled[name].get_runtime_model().get_ops()),
                "bytes": paths[name].stat().st_size + paths[name].with_suffix(".bin").stat().st_size,
                "conversion s": round(seconds[name], 3),
                "median ms": round(1000 * statistics.median(times), 3),
                "best ms": round(1000 * min(times), 3),
            }
            for name, times in zip(models, latency, strict=True)
        ]


def interleaved(calls: Sequence[Any], *, rounds: int, warmup: int = 10) -> list[list[float]]:
    """Seconds per call; the callables take turns, so that a busy machine slows all alike."""
    times: list[list[float]] = [[] for _ in calls]
    for round_ in range(warmup + rounds):
        for own, call in zip(times, calls, strict=True):
            begin = time.perf_counter()
            call()
            if round_ >= warmup:
                own.append(time.perf_counter() - begin)
    return times


def _caller(compiled: Any, size: int) -> Any:
    request = compiled.create_infer_request()
    image = np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32)
    return lambda: request.infer([image], share_inputs=True)


def folded() -> dict[str, np.ndarray]:
    """The demo network's static weights for one identity."""
    from mfs_edge.fold import fold
    from mfs_edge.load.identity import Identity
    from mfs_edge.sample import weights

    with np.load(Path(__file__).parents[1] / "tests" / "golden" / "check.npz") as check:
        identity = Identity(check["identity/embedding"][0], check["identity/feature_map"][0])
    return dict(fold(weights.checkpoint("iin"), identity).weights("plain"))


def torch_module() -> Any:
    """The same network as a plain torch module, as a user of the peer would have it."""
    from mfs_edge.networks import loading
    from mfs_edge.networks.idn import IDN

    return loading.instantiate(IDN, folded())


def _write_ours(path: Path, size: int) -> float:
    from mfs_edge import target
    from mfs_edge.graph import build, passes

    weights = folded()
    begin = time.perf_counter()
    graph = passes.optimise(build.build(weights, size=size))
    target.get("openvino").emit(graph, path, target.EmitOptions(precision="fp16"))
    return time.perf_counter() - begin


def _write_theirs(path: Path, size: int) -> float:
    import openvino as ov
    import torch

    module = torch_module()
    torch.set_num_threads(1)  # tracing runs the network, and its threads fight on a busy machine
    begin = time.perf_counter()
    model = ov.convert_model(module, example_input=torch.zeros(1, 3, size, size), input=[1, 3, size, size])
    ov.save_model(model, path, compress_to_fp16=True)
    return time.perf_counter() - begin


def show(rows: Sequence[dict[str, Any]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "toolchain" else "right")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


@click.command()
@click.option("--size", default=224, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--rounds", default=100, show_default=True)
def main(size: int, threads: int, rounds: int) -> None:
    """Compare with OpenVINO's converter."""
    show(run(size=size, threads=threads, rounds=rounds), f"OpenVINO, {size} px, {threads} thread(s), fp16 weights")


if __name__ == "__main__":
    main()
