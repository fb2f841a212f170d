"""Instructions per frame on emulated Raspberry Pis: the usual exports beside our files.

The peers are torch.onnx.export on onnxruntime and litert-torch on LiteRT, of the same folded
network; ``peers.py onnx`` and ``peers.py tflite`` time them on this machine. Our int8 files of
that network stand beside them. One thread.

    python benchmarks/peers.py emulated --peer-python litert-torch/bin/python
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import peerlib, peers_onnx, peers_tflite
from mfs_edge import target
from mfs_edge.base import fidelity
from mfs_edge.base.errors import CheckFailed
from mfs_edge.emulation import count, setup
from mfs_edge.emulation import device as emulated
from mfs_edge.emulation.boards import BOARDS, Board
from mfs_edge.emulation.environment import Environment, tell
from mfs_edge.graph import build, passes
from mfs_edge.measure.devices import Watch
from mfs_edge.measure.results import Instructions
from mfs_edge.quantize import calibration, quantise

OURS, OURS_INT8 = "mfs-edge", "mfs-edge int8"
# The files must be of one network before their counts mean anything.
TOLERANCE = 1e-3
INT8_PSNR = fidelity.DEFAULT_MIN_PSNR["int8"]


@click.command(help=__doc__, short_help="Count instructions on emulated Raspberry Pis.")
@click.option("--peer-python", envvar=peers_tflite.VARIABLE, default=sys.executable, show_default="this interpreter")
@click.option("--size", type=int, default=224, show_default=True)
@click.option("--board", "boards", multiple=True, type=click.Choice(list(BOARDS)), default=tuple(BOARDS))
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here too.")
def main(peer_python: str, size: int, boards: tuple[str, ...], json_path: Path | None) -> None:
    peers_tflite.check_peer(peer_python)
    environment = setup.ensure(tell)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for runtime, files in contenders(size, Path(folder), peer_python).items():
            for name in boards:
                rows += compare(runtime, files, environment, BOARDS[name], size)
    peerlib.show("Instructions per frame on aarch64, one folded network; fp32 where nothing else is said", rows)
    click.echo(emulated.MEANING)
    if json_path is not None:
        peerlib.save(json_path, {"rows": rows, "note": emulated.MEANING})


def contenders(size: int, folder: Path, peer_python: str) -> dict[str, dict[str, Path]]:
    """For each runtime, our files and the peer's, by who wrote them."""
    weights = peerlib.demo_weights()
    onnx = {}
    for number, (name, (model, _)) in enumerate(peers_onnx.convert(weights, size).items()):
        onnx[name] = folder / f"{number}.onnx"
        onnx[name].write_bytes(model)
    tflite = {name: path for name, (path, _) in peers_tflite.convert(weights, size, folder, peer_python).items()}
    graph = passes.optimise(build.build(weights, size=size))
    quantised = quantise(graph, calibration.load(None, size)).model
    for kind, files in ((target.get("onnx"), onnx), (target.get("tflite"), tflite)):
        files[OURS_INT8] = folder / f"int8{kind.suffix}"
        kind.emit(quantised, files[OURS_INT8], target.EmitOptions(precision="int8"))
    return {"onnxruntime": onnx, "LiteRT": tflite}


def compare(
    runtime: str, files: dict[str, Path], environment: Environment, board: Board, size: int
) -> list[dict[str, Any]]:
    """A row per contender.

    Raises:
        CheckFailed: they do not compute the same.
    """
    images = emulated.images(size)[: count.SHORT]
    found = {
        name: count.emulate(environment, board, path, images, watch=Watch(), say=tell) for name, path in files.items()
    }
    ours = found[OURS]
    for name, (ran, _) in found.items():
        difference = ran.outputs["swapped"] - ours[0].outputs["swapped"]
        same = fidelity.psnr(difference) >= INT8_PSNR if name == OURS_INT8 else np.abs(difference).max() <= TOLERANCE
        if not same:
            raise CheckFailed(
                f"{name} and {OURS} differ by up to {np.abs(difference).max():.2g} on {runtime} "
                f"({fidelity.psnr(difference):.0f} dB); they are not of one network"
            )
    return [_row(runtime, name, board, *pair, ours[1]) for name, pair in found.items()]


def _row(
    runtime: str, name: str, board: Board, ran: count.Ran, counted: Instructions, ours: Instructions
) -> dict[str, Any]:
    taken = ran.said["coverage"]
    return {
        "runtime": f"{runtime} {ran.said['runtime_version']}",
        "device": f"emulated:{board.name}",
        "file of": name,
        "instructions, M per frame": counted.median / 1e6,
        "spread, %": 100 * counted.spread,
        "of our fp32": counted.median / ours.median,
        "in XNNPACK": f"{taken['delegated']} of {taken['nodes']}" if taken else "-",
        "peak memory, MB": ran.said["peak_rss_bytes"] / 1e6,
    }
