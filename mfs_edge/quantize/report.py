"""What a quantised graph says of its tensors, and what each of them costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.quantize.execute import Outputs, squared_errors
from mfs_edge.verify import PSNR_CEILING

ACTIVATION, WEIGHT, BIAS = KINDS = ("activation", "weight", "bias")


@dataclass(frozen=True)
class Tensor:
    """One integer tensor of a QDQ graph."""

    name: str
    kind: str  # one of KINDS
    dtype: str
    scales: tuple[float, ...]  # one, or one per output channel
    zero_point: int
    low: float  # the least real value that it can hold, over all channels
    high: float
    psnr: dict[str, float] | None = None  # dB per output with this tensor alone in integers


def tensors(model: ir.Model) -> list[Tensor]:
    """Every integer tensor of a QDQ graph (of an ONNX artefact, too), in graph order."""
    found = []
    for node in model.graph:
        if node.op_type == "DequantizeLinear":
            found.append(_tensor(node))
    return found


def with_contributions(model: ir.Model, pictures: Sequence[np.ndarray], expected: Sequence[Outputs]) -> list[Tensor]:
    """:func:`tensors` of ``model``, each activation's with what it costs alone.

    Every other tensor is computed in float, with the weights as they are stored.

    Args:
        model: a QDQ graph.
        pictures: float32 [1, 3, S, S] each.
        expected: what the same graph makes of them with no activation rounded; see :func:`unrounded`.
    """
    found = []
    for tensor in tensors(model):
        if tensor.kind == ACTIVATION:
            errors = squared_errors(unrounded(model, keep=tensor.name), pictures, expected)
            tensor = replace(tensor, psnr={name: _decibels(error) for name, error in errors.items()})
        found.append(tensor)
    return found


def unrounded(model: ir.Model, *, keep: str | None = None) -> ir.Model:
    """A copy of a QDQ graph whose activations are float, but for the tensor named ``keep``."""
    copy = model.clone()
    for quantise in edit.of_type(copy.graph, "QuantizeLinear"):
        restore = edit.only_consumer(quantise.outputs[0])
        if restore is None or quantise.inputs[0] is None or _name(restore) == keep:
            continue
        # A grid that ends at zero may stand for a Relu.
        op_type = "Relu" if _lowest(restore) == 0 else "Identity"
        edit.replace(copy.graph, restore, [edit.new_node(str(restore.name), op_type, quantise.inputs[0])])
        copy.graph.remove(quantise, safe=True)
    return copy


def _lowest(dequantise: ir.Node) -> int:
    """The least number of steps that the codes of ``dequantise`` stand for."""
    zero = edit.constant(dequantise.inputs[2])
    return 0 if zero is None else int(np.iinfo(zero.dtype).min) - int(zero.ravel()[0])


def _tensor(node: ir.Node) -> Tensor:
    stored = edit.constant(node.inputs[0])
    scale = edit.weight(node, 1).ravel()
    zero = edit.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    point = 0 if zero is None else int(zero.ravel()[0])
    if stored is None:
        info = np.iinfo(np.int8 if zero is None else zero.dtype)
        low, high = (info.min - point) * scale[0], (info.max - point) * scale[0]
        return Tensor(_name(node), ACTIVATION, info.dtype.name, (float(scale[0]),), point, float(low), float(high))
    shape = [-1] + [1] * (stored.ndim - 1)
    real = (stored.astype(np.float64) - point) * (scale.reshape(shape) if scale.size > 1 else scale[0])
    kind = BIAS if stored.dtype == np.int32 else WEIGHT
    scales = tuple(float(one) for one in scale)
    return Tensor(_name(node), kind, stored.dtype.name, scales, point, float(real.min()), float(real.max()))


def _name(dequantise: ir.Node) -> str:
    """As in the float graph."""
    return str(dequantise.name).removesuffix(".restored")


def _decibels(error: float) -> float:
    return min(PSNR_CEILING, -10 * float(np.log10(max(error, 1e-20))))
