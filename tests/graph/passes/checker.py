"""Run the model before and after a pass, and name the first tensor that differs."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import PassError
from mfs_edge.graph import statistics
from mfs_edge.graph.passes.base import GraphPass

TOLERANCE = 1e-5  # of the tensor's largest value (at least 1): float32 rounding, not a defect
REMEDY = "this is a defect in mfs-edge, compile with --optimize 0 until it is fixed"


class Checker:
    """Holds the image, and every tensor's value before the pass under test."""

    def __init__(self, image: np.ndarray, *, tolerance: float = TOLERANCE) -> None:
        self.image = image
        self.tolerance = tolerance
        self.values: dict[str, np.ndarray] = {}
        self.outputs: list[str] = []
        self.signature = ""

    def before(self, model: ir.Model) -> None:
        self.values = evaluate(model, self.image)
        self.outputs = _outputs(model)
        self.signature = _signature(model)

    def after(self, model: ir.Model, graph_pass: GraphPass, *, changed: bool) -> None:
        """Raises PassError if a tensor differs, an output is gone, or ``changed`` is untrue."""
        title = graph_pass.title
        if changed != (_signature(model) != self.signature):
            did, said = ("left the graph as it was", "changed it") if changed else ("changed the graph", "had not")
            raise PassError(f"pass {title} {did} and reported that it {said}; {REMEDY}")
        if _outputs(model) != self.outputs:
            raise PassError(f"pass {title} turned the outputs {self.outputs} into {_outputs(model)}; {REMEDY}")
        for name, value in self._evaluate(model, title).items():
            if name in self.values and (name in self.outputs or not graph_pass.rescales):
                self._compare(model, title, name, value)

    def _evaluate(self, model: ir.Model, title: str) -> dict[str, np.ndarray]:
        try:
            return evaluate(model, self.image)
        except Exception as error:  # onnxruntime's exceptions share no base
            reason = " ".join(str(error).split())[:300]
            raise PassError(f"pass {title} left a graph that onnxruntime refuses: {reason}; {REMEDY}") from error

    def _compare(self, model: ir.Model, title: str, name: str, value: np.ndarray) -> None:
        expected = self.values[name]
        if value.shape == expected.shape:
            if np.array_equal(value, expected, equal_nan=True):
                return
            error = float(np.abs(value.astype(np.float64) - expected).max())
            if error <= self.tolerance * max(1.0, float(np.abs(expected).max())):
                return
            found = f"differs by {error:.3g}"
        else:
            found = f"has shape {list(value.shape)}, not {list(expected.shape)}"
        node = next(node for node in model.graph if node.outputs[0].name == name)
        raise PassError(
            f"pass {title} is not exact: tensor {name} of {node.op_type} {node.name} {found}; "
            f"it is the first, in graph order; {REMEDY}"
        )


def evaluate(model: ir.Model, image: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor that ``model`` computes for ``image`` [1, 3, S, S] in 0..1, in graph order, by onnxruntime."""
    names = [str(value.name) for node in model.graph for value in node.outputs]
    return next(statistics.observe(model, [image], names))


def _outputs(model: ir.Model) -> list[str]:
    return [str(value.name) for value in model.graph.outputs]


def _signature(model: ir.Model) -> str:
    """A digest of everything but inferred shapes: nodes, attributes, names and weights."""
    digest = hashlib.sha256()
    for node in model.graph:
        attributes = sorted((name, str(attribute.value)) for name, attribute in node.attributes.items())
        wires = [[value.name if value is not None else None for value in side] for side in (node.inputs, node.outputs)]
        digest.update(repr((node.op_type, node.name, wires, attributes)).encode())
    for name, value in model.graph.initializers.items():
        digest.update(str(name).encode())
        if value.const_value is not None:
            digest.update(value.const_value.tobytes())
    return digest.hexdigest()
