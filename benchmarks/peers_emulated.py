"""Instructions per frame on emulated Raspberry Pis: the usual exports beside our files.

The peers are torch.onnx.export on onnxruntime and litert-torch on LiteRT, of the same folded
network; ``peers.py onnx`` and ``peers.py tflite`` time them on this machine. One thread.

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
from mfs_edge.bench.devices import Watch, emulated
from mfs_edge.bench.emulation import count, setup
from mfs_edge.bench.emulation.boards import BOARDS, Board
from mfs_edge.bench.emulation.environment import Environment, tell
from mfs_edge.bench.results import Instructions
from mfs_edge.errors import CheckFailed

OURS = "mfs-edge"
TOLERANCE = 1e-3  # the files must be of one network before their counts mean anything


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
    peerlib.show("Instructions per frame on aarch64, fp32, one folded network", rows)
    click.echo(emulated.MEANING)
    if json_path is not None:
        peerlib.save(json_path, {"rows": rows, "note": emulated.MEANING})


def contenders(size: int, folder: Path, peer_python: str) -> dict[str, dict[str, Path]]:
    """For each runtime, our file and the peer's, by who wrote it."""
    weights = peerlib.demo_weights()
    graphs = {}
    for number, (name, (model, _)) in enumerate(peers_onnx.convert(weights, size).items()):
        graphs[name] = folder / f"{number}.onnx"
        graphs[name].write_bytes(model)
    converted = peers_tflite.convert(weights, size, folder, peer_python)
    return {"onnxruntime": graphs, "LiteRT": {name: path for name, (path, _) in converted.items()}}


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
        difference = float(np.abs(ran.outputs["swapped"] - ours[0].outputs["swapped"]).max())
        if not difference <= TOLERANCE:
            raise CheckFailed(f"{name} and {OURS} differ by {difference:.2g} on {runtime}; they are not of one network")
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
        "of ours": counted.median / ours.median,
        "in XNNPACK": f"{taken['delegated']} of {taken['nodes']}" if taken else "-",
        "peak memory, MB": ran.said["peak_rss_bytes"] / 1e6,
    }
