"""Our ONNX file beside torch.onnx.export's, of the same folded network.

The peer is what a PyTorch user does: ``torch.onnx.export`` of the plain module, constant
folding on, batch norms folded by the exporter. The exporter based on torch.export is taken
where ``onnxscript`` is installed, the one based on TorchScript elsewhere. Both files run on
onnxruntime and on OpenVINO, default optimisations, in turns.

    python benchmarks/peers.py onnx --threads 1
"""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnx_ir as ir

from benchmarks import peerlib
from mfs_edge.base import extras
from mfs_edge.base.errors import CheckFailed
from mfs_edge.graph import build, passes
from mfs_edge.graph.build import MASK, SWAPPED

OURS = "mfs-edge"
TOLERANCE = 1e-4  # the files must be of one network before their speed means anything
Call = Callable[[], list[np.ndarray]]


@click.command(help=__doc__, short_help="Compare with torch.onnx.export.")
@click.option("--size", "sizes", type=int, multiple=True, default=(224, 256), show_default=True)
@click.option("--threads", type=int, multiple=True, default=(1,), show_default=True)
@click.option("--runs", default=100, show_default=True)
@click.option("--warmup", default=10, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here too.")
def main(sizes: tuple[int, ...], threads: tuple[int, ...], runs: int, warmup: int, json_path: Path | None) -> None:
    weights = peerlib.demo_weights()
    rows: list[dict[str, Any]] = []
    for size in sizes:
        files = convert(weights, size)
        for count in threads:
            rows += compare(files, size, threads=count, runs=runs, warmup=warmup)
    peerlib.show("ONNX, fp32: one folded network, interleaved", rows)
    if json_path is not None:
        peerlib.save(json_path, {"rows": rows})


def convert(weights: peerlib.Arrays, size: int) -> dict[str, tuple[bytes, float]]:
    """Each contender's model, and the seconds from folded weights to it."""
    begin = time.perf_counter()
    ours = ir.to_proto(passes.optimise(build.build(weights, size=size))).SerializeToString()
    seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    name, theirs = export(weights, size)
    return {OURS: (ours, seconds), name: (theirs, time.perf_counter() - begin)}


def export(weights: peerlib.Arrays, size: int) -> tuple[str, bytes]:
    """The peer's name, and its model of the plain torch module."""
    import torch

    from mfs_edge.networks import loading
    from mfs_edge.networks.idn import IDN

    dynamo = extras.available("onnxscript")
    target: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the TorchScript exporter, where it is all there is
        program = torch.onnx.export(
            loading.instantiate(IDN, weights),
            (torch.zeros(1, 3, size, size),),
            None if dynamo else target,
            input_names=["image"],
            output_names=[SWAPPED, MASK],
            opset_version=18 if dynamo else build.OPSET,
            dynamo=dynamo,
        )
    if program is not None:
        return "torch.onnx.export (dynamo)", program.model_proto.SerializeToString()
    return "torch.onnx.export (TorchScript)", target.getvalue()


def compare(
    files: dict[str, tuple[bytes, float]], size: int, *, threads: int, runs: int, warmup: int
) -> list[dict[str, Any]]:
    """A row per contender and runtime; raises CheckFailed if they do not compute the same."""
    image = peerlib.frame(size)
    calls = {
        (runtime, name): load(model, image, threads)
        for runtime, load in RUNTIMES.items()
        for name, (model, _) in files.items()
    }
    _check_same(calls)
    race = peerlib.race(
        {f"{runtime}/{name}": call for (runtime, name), call in calls.items()}, runs=runs, warmup=warmup
    )
    peer = next(name for name in files if name != OURS)
    rows = []
    for runtime, name in calls:
        model, seconds = files[name]
        timing = race.timing(f"{runtime}/{name}")
        wall, processor = race.ratio(f"{runtime}/{peer}", f"{runtime}/{name}")
        rows.append(
            {
                "runtime": runtime,
                "size": size,
                "threads": threads,
                "model of": name,
                "conversion s": seconds,
                "bytes": len(model),
                "nodes": len(onnx.load_from_string(model).graph.node),
                "median ms (quartiles)": str(timing),
                "best ms": timing.best,
                "CPU ms": race.processor(f"{runtime}/{name}"),
                "times as fast": wall,
                "in CPU time": processor,
            }
        )
    return rows


def _check_same(calls: dict[tuple[str, str], Call]) -> None:
    outputs = [call() for call in calls.values()]
    for other in outputs[1:]:
        error = max(float(np.abs(a - b).max()) for a, b in zip(outputs[0], other, strict=True))
        if error > TOLERANCE:
            raise CheckFailed(f"the models differ by {error:.2g}; they are not of one network")


def on_onnxruntime(model: bytes, image: np.ndarray, threads: int) -> Call:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run([SWAPPED, MASK], {"image": image})


def on_openvino(model: bytes, image: np.ndarray, threads: int) -> Call:
    import openvino as ov

    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    core = ov.Core()
    request = core.compile_model(core.read_model(model), "CPU", config).create_infer_request()

    def call() -> list[np.ndarray]:
        found = request.infer([image], share_inputs=True, share_outputs=True)
        return [np.array(found[name]) for name in (SWAPPED, MASK)]

    return call


RUNTIMES: dict[str, Callable[[bytes, np.ndarray, int], Call]] = {
    "onnxruntime": on_onnxruntime,
    "OpenVINO": on_openvino,
}
