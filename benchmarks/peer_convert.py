"""Converts the folded network with a peer's tools; runs in that peer's environment.

Arguments: which (a key of ``CONVERTERS``), weights (.safetensors, the IDN's official keys), the
plain torch.onnx.export of the same, size, the file to write. Prints one JSON line: the seconds
taken, imports aside, and the tool's version.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))


def torch_module(weights: str) -> Any:
    """The plain network, as the authors' code has it."""
    from safetensors.torch import load_file

    from mfs_edge.networks.idn import IDN

    network = IDN()
    missing, unexpected = network.load_state_dict(load_file(weights), strict=False)
    # Batch norms count batches in training; the count is in no checkpoint.
    if unexpected or any(not key.endswith("num_batches_tracked") for key in missing):
        raise SystemExit(f"weights do not fit the network: missing {missing}, unexpected {unexpected}")
    return network.eval()


def executorch(weights: str, onnx: str, size: int, out: str) -> float:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # type: ignore[import-not-found]
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower  # type: ignore[import-not-found]

    network = torch_module(weights)
    begin = time.perf_counter()
    with torch.no_grad():
        program = torch.export.export(network, (torch.rand(1, 3, size, size),))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    Path(out).write_bytes(lowered.to_executorch().buffer)
    return time.perf_counter() - begin


def litert_torch(weights: str, onnx: str, size: int, out: str) -> float:
    import litert_torch as peer  # type: ignore[import-not-found]
    import torch

    network = torch_module(weights)
    begin = time.perf_counter()
    with torch.no_grad():
        peer.convert(network, (torch.rand(1, 3, size, size),)).export(out)
    return time.perf_counter() - begin


def mnn(weights: str, onnx: str, size: int, out: str) -> float:
    tool = Path(sys.executable).parent / "mnnconvert"
    begin = time.perf_counter()
    call([str(tool), "-f", "ONNX", "--modelFile", onnx, "--MNNModel", out, "--bizCode", "peer"])
    return time.perf_counter() - begin


def ncnn(weights: str, onnx: str, size: int, out: str) -> float:
    """Two files: ``out`` is the .param, its weights lie beside it as .bin."""
    import pnnx  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(onnx, Path(folder) / "idn.onnx")
        begin = time.perf_counter()
        call([pnnx.EXEC_PATH, "idn.onnx", f"inputshape=[1,3,{size},{size}]", "fp16=0"], folder)
        seconds = time.perf_counter() - begin
        for suffix in (".param", ".bin"):
            shutil.move(Path(folder) / f"idn.ncnn{suffix}", Path(out).with_suffix(suffix))
    return seconds


def call(command: list[str], folder: str | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise SystemExit(f"exit code {done.returncode}: {lines[-1] if lines else 'no message'}")


CONVERTERS: dict[str, tuple[Callable[[str, str, int, str], float], str]] = {
    "executorch": (executorch, "executorch"),
    "litert-torch": (litert_torch, "litert-torch"),
    "MNN": (mnn, "MNN"),
    "ncnn": (ncnn, "ncnn"),
}


def main() -> None:
    kind, weights, onnx, size, out = sys.argv[1:]
    convert, distribution = CONVERTERS[kind]
    seconds = convert(weights, onnx, int(size), out)
    sys.stdout.write(json.dumps({"seconds": seconds, "version": metadata.version(distribution)}) + "\n")


if __name__ == "__main__":
    main()
