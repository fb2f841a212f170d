"""Ours against coremltools' own converter, on the demo network.

The peer is what its documentation tells a PyTorch user to do: trace the plain module, then
``coremltools.convert`` with an image input and image output, for iOS 16 in fp16. Neither can
run off macOS; compared are operators, bytes and seconds.

    python benchmarks/peers_coreml.py --size 224
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from mfs_edge.base.artefact import Artefact

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, only this folder is on the path

from benchmarks.peers_openvino import folded, show, torch_module


def run(*, size: int = 224) -> list[dict[str, Any]]:
    """One row per toolchain: operators, bytes, conversion seconds."""
    with quiet():
        importlib.import_module("coremltools")  # neither is charged for the import
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.mlpackage", Path(folder) / "peer.mlpackage"
        seconds = {"mfs-edge": _write_ours(ours, size), "coremltools.convert": _write_theirs(theirs, size)}
        rows = []
        for (name, spent), path in zip(seconds.items(), (ours, theirs), strict=True):
            kinds = _operators(path)
            constants = kinds.pop("const")
            rows.append(
                {
                    "toolchain": name,
                    "operators": kinds.total(),
                    "casts": kinds["cast"],
                    "in float32": _wide(path),
                    "constants": constants,
                    "bytes": Artefact(path).size,
                    "conversion s": round(spent, 3),
                }
            )
        return rows


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """coremltools draws progress bars, and tells of every Apple library it misses."""
    logger = logging.getLogger("coremltools")
    logger.setLevel(logging.ERROR)
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def _operations(path: Path) -> list[Any]:
    import coremltools as ct

    function = ct.utils.load_spec(str(path)).mlProgram.functions["main"]
    return list(function.block_specializations[function.opset].operations)


def _operators(path: Path) -> Counter[str]:
    return Counter(operation.type for operation in _operations(path))


def _wide(path: Path) -> int:
    """Operators other than casts that compute in float32, off the Neural Engine."""
    from coremltools.proto import MIL_pb2

    return sum(
        operation.type not in ("const", "cast") and operation.outputs[0].type.tensorType.dataType == MIL_pb2.FLOAT32
        for operation in _operations(path)
    )


def _write_ours(path: Path, size: int) -> float:
    from mfs_edge import target
    from mfs_edge.graph import build, passes
    from mfs_edge.quantize import half

    weights = folded()
    begin = time.perf_counter()
    graph = half.prepare(passes.optimise(build.build(weights, size=size)))
    target.get("coreml").emit(graph, path, target.EmitOptions(precision="fp16", io="image"))
    return time.perf_counter() - begin


def _write_theirs(path: Path, size: int) -> float:
    import coremltools as ct
    import torch

    class ForImages(torch.nn.Module):
        """coremltools scales an input image, but not an output one."""

        def __init__(self, module: Any) -> None:
            super().__init__()
            self.module = module

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            swapped, mask = self.module(image)
            return swapped * 255, mask

    module = ForImages(torch_module()).eval()
    torch.set_num_threads(1)  # tracing runs the network, and its threads fight on a busy machine
    begin = time.perf_counter()
    with quiet(), torch.no_grad():
        traced = torch.jit.trace(module, torch.zeros(1, 3, size, size))  # type: ignore[no-untyped-call]
        model = ct.convert(
            traced,
            inputs=[ct.ImageType(name="image", shape=(1, 3, size, size), scale=1 / 255)],
            outputs=[ct.ImageType(name="swapped"), ct.TensorType(name="mask")],
            minimum_deployment_target=ct.target.iOS16,
            skip_model_load=True,
        )
        model.save(str(path))
    return time.perf_counter() - begin


@click.command()
@click.option("--size", default=224, show_default=True)
def main(size: int) -> None:
    """Compare with coremltools' converter."""
    show(run(size=size), f"Core ML, {size} px, fp16, image in and out")


if __name__ == "__main__":
    main()
