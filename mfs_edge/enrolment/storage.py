"""What the weights of an enrolment graph are kept in: float32, float16 or int8. It computes in float32 throughout.

Activations stay real: rounding them to eight bits fifty layers deep would leave another person. And
in int8 the first layers stay float16: what is lost there grows through all that follow, and they are
small. On the golden network, whose layers amplify most, int8 throughout leaves 22 dB of the picture.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import UsageError
from mfs_edge.graph import edit

PRECISIONS = ("fp32", "fp16", "int8")
_STEPS = 127  # weights keep clear of -128
_LEAST = 1 << 10  # weights in a Conv; fewer are not worth a scale
FIRST = 1_950_000  # weights at the front that int8 keeps in float16: the stem, two layers, and where the third begins
HALF = float(np.finfo(np.float16).max)


def store(model: ir.Model, precision: str) -> ir.Model:
    """``model`` with the weights of its Convs rounded to ``precision``, in place.

    What is kept in float16 is the Cast of an initialiser of that type, what is kept in int8 the
    DequantizeLinear of codes with a scale per output channel. Either is the conv's weight.

    Raises:
        UsageError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"enrolment has no --precision {precision}; it offers {', '.join(PRECISIONS)}")
    left = {"fp32": 0, "fp16": np.inf, "int8": FIRST}[precision]
    for conv in edit.of_type(model.graph, "Conv") if precision != "fp32" else ():
        left -= _weight(conv).size
        (_halve if left >= 0 else _quantise)(model.graph, conv)
    return model


def _halve(graph: ir.Graph, conv: ir.Node) -> None:
    weight = _weight(conv)
    if weight.size < _LEAST or np.abs(weight).max() > HALF:
        return
    held = edit.new_initialiser(graph, f"{conv.name}.weight.half", weight.astype(np.float16))
    _keep(graph, conv, edit.new_node(f"{conv.name}.weight.real", "Cast", held, to=ir.DataType.FLOAT.value))


def _quantise(graph: ir.Graph, conv: ir.Node) -> None:
    weight = _weight(conv)
    if weight.size < _LEAST:
        return
    name = f"{conv.name}.weight"
    parts = zip(("codes", "scale", "zero"), (*quantised(weight), np.zeros(len(weight), np.int8)), strict=True)
    held = [edit.new_initialiser(graph, f"{name}.{part}", array) for part, array in parts]
    _keep(graph, conv, edit.new_node(f"{name}.real", "DequantizeLinear", *held, axis=0))


def _keep(graph: ir.Graph, conv: ir.Node, real: ir.Node) -> None:
    """Let ``real`` give the conv its weight."""
    old = conv.inputs[1]
    if old is None:
        raise ValueError(f"Conv node {conv.name} has no weight")
    real.outputs[0].dtype, real.outputs[0].shape = ir.DataType.FLOAT, old.shape
    graph.insert_before(conv, real)
    conv.replace_input_with(1, real.outputs[0])
    del graph.initializers[str(old.name)]


def quantised(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 codes of a weight [O, I, h, w], and float32 scales [O]: one per output channel, of its largest weight."""
    rows = weight.reshape(len(weight), -1)
    largest = np.abs(rows).max(axis=1)
    scale = (np.where(largest > 0, largest, 1) / _STEPS).astype(np.float32)
    codes = np.rint(rows / scale[:, None]).clip(-_STEPS, _STEPS).astype(np.int8)
    return codes.reshape(weight.shape), scale


def _weight(conv: ir.Node) -> np.ndarray:
    found = edit.constant(conv.inputs[1])
    if found is None:
        raise ValueError(f"Conv node {conv.name}: its weight is not an initialiser")
    return found
