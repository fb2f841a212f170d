"""Run graphs in memory by onnxruntime, and compare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir

from mfs_edge.base import frames
from mfs_edge.base.fidelity import Outputs
from mfs_edge.graph import session

Errors = dict[str, float]


class Session:
    """A session of a graph with pictures at its edges."""

    def __init__(self, model: ir.Model, *, as_written: bool = False) -> None:
        self.session = session.Session(model, as_written=as_written)
        self.dtype = "uint8" if self.session.type == "tensor(uint8)" else "float32"

    def run(self, image: np.ndarray) -> Outputs:
        """Float32 in and out, [1, 3, S, S] in 0..1, whatever the graph's own edges are."""
        given = frames.as_taken(image, tuple(self.session.shape), self.dtype)
        return frames.as_told(self.session.run({self.session.image: given}))


def outputs(model: ir.Model, pictures: Iterable[np.ndarray], *, as_written: bool = False) -> list[Outputs]:
    """What ``model`` makes of each [1, 3, S, S] in 0..1; ``as_written``, operator by operator: a QDQ graph in float."""
    runner = Session(model, as_written=as_written)
    return [runner.run(picture) for picture in pictures]


def squared_errors(model: ir.Model, pictures: Sequence[np.ndarray], expected: Sequence[Outputs]) -> Errors:
    """Mean squared error per output, as the geometric mean over pictures [1, 3, S, S]: that is the mean PSNR."""
    runner = Session(model)
    logs: dict[str, list[float]] = {}
    for picture, wanted in zip(pictures, expected, strict=True):
        for name, value in runner.run(picture).items():
            error = float(np.mean(np.square(value - wanted[name], dtype=np.float64)))
            logs.setdefault(name, []).append(float(np.log(max(error, 1e-20))))
    return {name: float(np.exp(np.mean(found))) for name, found in logs.items()}
