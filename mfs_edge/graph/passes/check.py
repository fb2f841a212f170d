"""Run the model before and after a pass, and name the first tensor that differs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mfs_edge.errors import PassError
from mfs_edge.graph.passes.base import GraphPass

TOLERANCE = 1e-5  # of the tensor's largest value (at least 1): float32 rounding, not a defect


class Checker:
    """Holds the image, and every tensor's value before the pass under test."""

    def __init__(self, image: np.ndarray, *, tolerance: float = TOLERANCE) -> None:
        self.image = image
        self.tolerance = tolerance
        self.values: dict[str, np.ndarray] = {}
        self.nodes: list[str] = []

    def before(self, model: ir.Model) -> None:
        self.values = evaluate(model, self.image)
        self.nodes = _signature(model)

    def after(self, model: ir.Model, graph_pass: GraphPass, *, changed: bool) -> None:
        """Raises PassError if a tensor differs, or ``changed`` is untrue."""
        if not changed and _signature(model) != self.nodes:
            raise PassError(f"pass {graph_pass.title} changed the graph and reported that it had not")
        names = [output.name for output in model.graph.outputs] if graph_pass.rescales else None
        for name, value in evaluate(model, self.image).items():
            if name in self.values and (names is None or name in names):
                self._compare(model, graph_pass, name, value)

    def _compare(self, model: ir.Model, graph_pass: GraphPass, name: str, value: np.ndarray) -> None:
        expected = self.values[name]
        if value.shape == expected.shape:
            error = float(np.abs(value.astype(np.float64) - expected).max())
            if error <= self.tolerance * max(1.0, float(np.abs(expected).max())):
                return
            found = f"differs by {error:.3g}"
        else:
            found = f"has shape {list(value.shape)}, not {list(expected.shape)}"
        node = next(node for node in model.graph if node.outputs[0].name == name)
        raise PassError(
            f"pass {graph_pass.title} is not exact: tensor {name} of {node.op_type} {node.name} {found}; "
            "it is the first, in graph order; this is a defect in mfs-edge, compile with --optimize 0 until it is fixed"
        )


def evaluate(model: ir.Model, image: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor that ``model`` computes for ``image``, in graph order, by onnxruntime."""
    import onnx
    import onnxruntime as ort

    proto = ir.to_proto(model)
    names = [output for node in proto.graph.node for output in node.output]
    declared = {output.name for output in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in declared)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # run the graph as it is
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {"image": image}), strict=True))


def _signature(model: ir.Model) -> list[str]:
    return [f"{node.op_type} {node.name} {[i.name for i in node.inputs if i is not None]}" for node in model.graph]
