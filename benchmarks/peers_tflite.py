"""Our TFLite file beside litert-torch's, of the same folded network, on LiteRT.

litert-torch needs torch and about 2 GB of its own, so it lives in an environment apart:

    python -m venv litert-torch
    litert-torch/bin/pip install torch  # the CPU build
    litert-torch/bin/pip install litert-torch
    python benchmarks/peers.py tflite --peer-python litert-torch/bin/python
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import peerlib
from mfs_edge.base.errors import CheckFailed, MissingDependency

CHILD = Path(__file__).with_name("litert_torch_child.py")
VARIABLE = "MFS_EDGE_LITERT_TORCH_PYTHON"
OURS, PEER = "mfs-edge", "litert-torch"
TOLERANCE = 1e-3  # the files must be of one network before their speed means anything


@click.command(help=__doc__, short_help="Compare with litert-torch's converter.")
@click.option("--peer-python", envvar=VARIABLE, default=sys.executable, show_default="this interpreter")
@click.option("--size", "sizes", type=int, multiple=True, default=(224, 256), show_default=True)
@click.option("--threads", type=int, multiple=True, default=(1, 2), show_default=True)
@click.option("--runs", default=60, show_default=True)
@click.option("--warmup", default=5, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here too.")
def main(
    peer_python: str, sizes: tuple[int, ...], threads: tuple[int, ...], runs: int, warmup: int, json_path: Path | None
) -> None:
    check_peer(peer_python)
    weights = peerlib.demo_weights()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            files = convert(weights, size, Path(folder), peer_python)
            for count in threads:
                rows += compare(files, size, threads=count, runs=runs, warmup=warmup)
    peerlib.show("TFLite, fp32: one folded network, interleaved on LiteRT", rows)
    if json_path is not None:
        peerlib.save(json_path, {"rows": rows})


def check_peer(python: str) -> None:
    """Raises MissingDependency if ``python`` has no litert-torch."""
    probe = subprocess.run(
        [python, "-c", "import importlib.util as u; assert u.find_spec('litert_torch')"], check=False
    )
    if probe.returncode:
        raise MissingDependency(
            f"{python} has no litert-torch; make an environment for it (see --help) and name its interpreter with "
            f"--peer-python or ${VARIABLE}"
        )


def convert(weights: peerlib.Arrays, size: int, folder: Path, peer_python: str) -> dict[str, tuple[Path, float]]:
    """Each contender's file, and the seconds from folded weights to file."""
    from safetensors.numpy import save_file

    from mfs_edge import target
    from mfs_edge.graph import build, passes

    ours, peer, stored = (folder / f"{size}-{name}" for name in ("ours.tflite", "peer.tflite", "idn.safetensors"))
    start = time.perf_counter()
    model = passes.optimise(build.build(weights, size=size))
    target.get("tflite").emit(model, ours, target.EmitOptions())
    seconds = time.perf_counter() - start
    save_file(weights, stored)
    arguments = [peer_python, str(CHILD), str(stored), str(size), str(peer)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise CheckFailed(f"litert-torch could not convert the network: {done.stderr.strip().splitlines()[-1]}")
    report = json.loads(done.stdout.strip().splitlines()[-1])
    return {OURS: (ours, seconds), PEER: (peer, report["convert_s"])}


def compare(
    files: dict[str, tuple[Path, float]], size: int, *, threads: int, runs: int, warmup: int
) -> list[dict[str, Any]]:
    """A row per contender; raises CheckFailed if they do not compute the same."""
    sessions = {name: _Session(path, peerlib.frame(size), threads) for name, (path, _) in files.items()}
    difference = float(np.abs(sessions[OURS].swapped() - sessions[PEER].swapped()).max())
    if difference > TOLERANCE:
        raise CheckFailed(f"the two files differ by {difference:.2g} at {size} px; they are not of one network")
    race = peerlib.race({name: session.invoke for name, session in sessions.items()}, runs=runs, warmup=warmup)
    return [
        {
            "size": size,
            "threads": threads,
            "file of": name,
            "conversion s": seconds,
            "bytes": path.stat().st_size,
            **sessions[name].shape(),
            "median ms (quartiles)": str(race.timing(name)),
            "best ms": race.timing(name).best,
            "CPU ms": race.processor(name),
            "times as fast": race.ratio(PEER, name)[0],
            "in CPU time": race.ratio(PEER, name)[1],
        }
        for name, (path, seconds) in files.items()
    ]


class _Session:
    """Any ``.tflite``, ours or not, with its image set."""

    def __init__(self, path: Path, image: np.ndarray, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(model_path=str(path), num_threads=threads)
        self.interpreter.allocate_tensors()
        (entry,) = self.interpreter.get_input_details()
        self.channels_last = entry["shape"][-1] == 3
        self.interpreter.set_tensor(entry["index"], self._laid_out(image))
        self.interpreter.invoke()

    def invoke(self) -> None:
        self.interpreter.invoke()

    def swapped(self) -> np.ndarray:
        """The image among the outputs, NHWC."""
        found = [self.interpreter.get_tensor(entry["index"]) for entry in self.interpreter.get_output_details()]
        (image,) = (output for output in found if 3 in (output.shape[1], output.shape[-1]))
        return image if image.shape[-1] == 3 else image.transpose(0, 2, 3, 1)

    def shape(self) -> dict[str, int]:
        """How many operators, transposes and delegate partitions."""
        names = Counter(str(node["op_name"]) for node in self.interpreter._get_ops_details())
        partitions = names.pop("DELEGATE", 0)
        return {"ops": sum(names.values()), "transposes": names["TRANSPOSE"], "partitions": partitions}

    def _laid_out(self, image: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(image.transpose(0, 2, 3, 1)) if self.channels_last else image
