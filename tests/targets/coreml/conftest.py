"""Packages written once per session, from the golden network and the demo's."""

from __future__ import annotations

import contextlib
import functools
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from mfs_edge.targets.coreml import CoremlTarget, evaluator

from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.graph.passes.balance import Balance
from mfs_edge.target import EmitOptions

Writer = Callable[..., Path]
WILD = np.float32(2.0**13)


@contextlib.contextmanager
def altered_blob(opened: evaluator.Package, value: Any) -> Iterator[bytearray]:
    """The bytes of a constant, to be changed; ``opened`` then reads a weight file of its own."""
    data = bytearray(opened.weights.read_bytes())
    _, _, size, start = struct.unpack_from("<IIQQ", data, value.blobFileValue.offset)
    blob = data[start : start + size]
    yield blob
    data[start : start + size] = blob
    opened.weights = Path(tempfile.mkdtemp(), "weight.bin")
    opened.weights.write_bytes(data)


@pytest.fixture(scope="session")
def graph(golden_folded: FoldedIDN, demo_folded: FoldedIDN) -> Callable[..., ir.Model]:
    """The graph of "golden", "demo" or "wild"; ``balanced`` makes it safe for half precision."""
    golden = golden_folded.weights("plain")
    # The same function, but some activations outgrow half precision.
    wild = {key: value.copy() for key, value in golden.items()}
    wild["Encoder.1.0.weight"] *= WILD
    wild["Encoder.1.1.weight"] /= WILD
    weights = {"golden": golden, "wild": wild, "demo": demo_folded.weights("plain")}

    @functools.cache  # emission does not change a graph
    def make(network: str = "golden", *, size: int = 224, level: int = 1, balanced: bool = False) -> ir.Model:
        model = passes.optimise(build.build(weights[network], size=size), level=level)
        return passes.run(model, [Balance()]) if balanced else model

    return make


@pytest.fixture(scope="session")
def package(graph: Callable[..., ir.Model], tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """Writes a package (once per combination) and returns its path; never change it in place."""
    folder = tmp_path_factory.mktemp("packages")
    written: dict[str, Path] = {}

    def write(network: str = "golden", *, precision: str = "fp32", io: str = "float32", **kinds: Any) -> Path:
        key = "-".join(map(str, (network, precision, io, *kinds.items())))
        kinds.setdefault("balanced", precision == "fp16")
        if key not in written:
            path = folder / f"{len(written)}.mlpackage"
            model = graph(network, **kinds)
            CoremlTarget().emit(model, path, EmitOptions(precision=precision, io=io, metadata={"identity": "abc123"}))
            written[key] = path
        return written[key]

    return write


@pytest.fixture(scope="session")
def frame(golden: Any) -> Callable[[int], np.ndarray]:
    """The golden target image at 224 or 256, float32 [1, 3, S, S] in 0..1."""

    def load(size: int) -> np.ndarray:
        return (golden[f"target{size}/image"].astype(np.float32) / 255).transpose(2, 0, 1)[None]

    return load
