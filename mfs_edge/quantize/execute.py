"""Run graphs in memory by onnxruntime, and compare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir

Outputs = dict[str, np.ndarray]
Errors = dict[str, float]


class Session:
    """An onnxruntime CPU session of a graph."""

    def __init__(self, model: ir.Model, *, as_written: bool = False) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors only
        if as_written:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.x64quantprecision", "1")
        proto = ir.to_proto(model).SerializeToString()
        self.session = ort.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
        self.image = self.session.get_inputs()[0].name
        self.takes_bytes = self.session.get_inputs()[0].type == "tensor(uint8)"
        self.names = [output.name for output in self.session.get_outputs()]

    def run(self, image: np.ndarray) -> Outputs:
        """Float32 in and out, [1, 3, S, S], whatever the graph's own edges are."""
        if not self.takes_bytes:
            return dict(zip(self.names, self.session.run(self.names, {self.image: image}), strict=True))
        frame = np.ascontiguousarray(np.rint(image.transpose(0, 2, 3, 1) * 255).astype(np.uint8))
        given = self.session.run(self.names, {self.image: frame})
        return {
            name: found.transpose(0, 3, 1, 2) / np.float32(255) for name, found in zip(self.names, given, strict=True)
        }


def outputs(model: ir.Model, pictures: Iterable[np.ndarray], *, as_written: bool = False) -> list[Outputs]:
    """What ``model`` makes of each picture; ``as_written``, operator by operator: a QDQ graph in float."""
    session = Session(model, as_written=as_written)
    return [session.run(picture) for picture in pictures]


def squared_errors(model: ir.Model, pictures: Sequence[np.ndarray], expected: Sequence[Outputs]) -> Errors:
    """Mean squared error per output, as the geometric mean over pictures: that is the mean PSNR."""
    session = Session(model)
    logs: dict[str, list[float]] = {}
    for picture, wanted in zip(pictures, expected, strict=True):
        for name, value in session.run(picture).items():
            error = float(np.mean(np.square(value - wanted[name], dtype=np.float64)))
            logs.setdefault(name, []).append(float(np.log(max(error, 1e-20))))
    return {name: float(np.exp(np.mean(found))) for name, found in logs.items()}
