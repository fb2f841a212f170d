"""What the targets' tests of quantised graphs share: pictures, and how far an artefact is from the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx_ir as ir

from mfs_edge import sample
from mfs_edge.base import images
from mfs_edge.base.fidelity import Swapper, psnr
from mfs_edge.quantize import execute, neighbours

SIZE = 64
LOST_DB = 1.5  # a runtime may be this much worse than the graph in float
Graphs = Callable[[str], ir.Model]  # by precision


def faces(numbers: range) -> list[np.ndarray]:
    """The demo's, small."""
    return [images.to_nchw(images.resize(sample.target(i), SIZE)) for i in numbers]


def levels(swapper: Swapper, reference: ir.Model) -> dict[str, float]:
    """Mean PSNR against ``reference``, on faces that did not calibrate."""
    pictures = faces(range(0, 32, 4))
    expected = execute.outputs(reference, pictures)
    pairs = [(swapper.run(picture), wanted) for picture, wanted in zip(pictures, expected, strict=True)]
    return {name: float(np.mean([psnr(f[name] - w[name]) for f, w in pairs])) for name in ("swapped", "mask")}


def largest_sum(kernels: Iterable[np.ndarray]) -> int:
    """What two neighbours of dense convs' int8 weights, [O, I, kh, kw] as written, sum to at most."""
    return max(int(neighbours.largest(kernel).max()) for kernel in kernels)
