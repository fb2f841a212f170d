"""Graphs and images that the graph's tests share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from mfs_edge import sample
from mfs_edge.base import images
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph.build import build

Images = list[np.ndarray]
Outputs = dict[str, np.ndarray]
NATURAL = (0, 3, 7, 11, 16, 21, 33, 42, 51, 60)


@pytest.fixture(scope="session")
def plain(golden_folded: FoldedIDN) -> Callable[[int], ir.Model]:
    """The unoptimised golden graph of a size, a fresh one at every call."""
    weights = golden_folded.weights()
    return lambda size: build(weights, size=size)


def random_images(size: int, number: int = 10) -> Images:
    rng = np.random.default_rng(size)
    return [rng.random((1, 3, size, size), dtype=np.float32) for _ in range(number)]


def natural_images(size: int) -> Images:
    return [images.to_nchw(images.resize(sample.target(number), size)) for number in NATURAL]


def golden_image(golden: dict[str, np.ndarray], size: int) -> np.ndarray:
    """The golden target as the network takes it: float32 [1, 3, size, size]."""
    pixels = golden[f"target{size}/image"].transpose(2, 0, 1)[None]
    return np.ascontiguousarray(pixels, np.float32) / np.float32(255)


def runner(model: ir.Model, *, optimise: bool = True) -> Callable[[np.ndarray], Outputs]:
    """``model`` in onnxruntime, as shipped or exactly as written."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    names = ["swapped", "mask"]
    return lambda image: dict(zip(names, session.run(names, {"image": image}), strict=True))


def difference(first: Outputs, second: Outputs) -> float:
    """Largest absolute difference over both outputs."""
    return max(float(np.abs(first[name] - second[name]).max()) for name in ("swapped", "mask"))
