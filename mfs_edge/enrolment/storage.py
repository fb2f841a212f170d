"""What the weights of an enrolment graph are kept in: float32, float16 or int8. It computes in float32 throughout.

Activations stay real: rounding them to eight bits fifty layers deep would leave another person. And
in int8 the first layers stay float16: what is lost there grows through all that follow, and they are
small. On the golden network, whose layers amplify most, int8 throughout leaves 22 dB of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import UsageError
from mfs_edge.enrolment import correction
from mfs_edge.graph import edit, statistics

PRECISIONS = ("fp32", "fp16", "int8")
_STEPS = 127  # weights keep clear of -128
_SHARES = (1.0, 0.97, 0.94, 0.91, 0.88)  # of a channel's largest weight that its scale reaches to
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
    means = (
        {} if precision != "int8" else correction.mean_inputs(model, correction.pictures(statistics.image_size(model)))
    )
    for conv in edit.of_type(model.graph, "Conv") if precision != "fp32" else ():
        left -= _weight(conv).size
        if left >= 0:
            _halve(model.graph, conv)
        else:
            _quantise(model.graph, conv, means)
    return model


def _halve(graph: ir.Graph, conv: ir.Node) -> None:
    weight = _weight(conv)
    if weight.size < _LEAST or np.abs(weight).max() > HALF:
        return
    held = edit.new_initialiser(graph, f"{conv.name}.weight.half", weight.astype(np.float16))
    _keep(graph, conv, edit.new_node(f"{conv.name}.weight.real", "Cast", held, to=ir.DataType.FLOAT.value))


def _quantise(graph: ir.Graph, conv: ir.Node, means: Mapping[str, np.ndarray]) -> None:
    """int8 codes; what they do to the conv on average goes into its bias."""
    weight, source = _weight(conv), conv.inputs[0]
    if weight.size < _LEAST or source is None:
        return
    codes, scale = quantised(weight)
    lost = weight - codes * scale[:, None, None, None]
    if len(conv.inputs) > 2 and str(source.name) in means:
        moved = edit.conv_bias(conv) + correction.shift(conv, lost, means[str(source.name)])
        edit.set_initialiser(graph, conv, 2, moved.astype(np.float32))
    name = f"{conv.name}.weight"
    parts = zip(("codes", "scale", "zero"), (codes, scale, np.zeros(len(scale), np.int8)), strict=True)
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
    """int8 codes of a weight [O, I, h, w], and float32 scales [O], one per output channel.

    The scale is the one of several that leaves the least squared error: to clip the few largest weights
    makes the steps of all others smaller.
    """
    rows = weight.reshape(len(weight), -1)
    largest = np.abs(rows).max(axis=1)
    widest = np.where(largest > 0, largest, 1) / _STEPS
    codes, scale = np.zeros(rows.shape, np.int8), np.ones(len(rows), np.float32)
    least = np.full(len(rows), np.inf)
    for share in _SHARES:
        tried = (widest * share).astype(np.float32)
        exact = rows / tried[:, None]
        rounded = np.rint(exact).clip(-_STEPS, _STEPS)
        error = share**2 * np.square(exact - rounded).sum(axis=1)  # in units of the widest step, which cannot overflow
        better = error < least
        codes[better], scale[better], least[better] = rounded[better], tried[better], error[better]
    return codes.reshape(weight.shape), scale


def _weight(conv: ir.Node) -> np.ndarray:
    found = edit.constant(conv.inputs[1])
    if found is None:
        raise ValueError(f"Conv node {conv.name}: its weight is not an initialiser")
    return found
