"""What a quantised graph says of its tensors, and what each of them costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.quantize.execute import Outputs, squared_errors
from mfs_edge.quantize.samples import Progress
from mfs_edge.target import ACTIVATION, IntegerTensor
from mfs_edge.verify import PSNR_CEILING

Levels = dict[str, float]  # dB per output


def tensors(model: ir.Model) -> list[IntegerTensor]:
    """Every integer tensor of a QDQ graph (of an ONNX artefact, too), in graph order."""
    return [_tensor(node) for node in edit.of_type(model.graph, "DequantizeLinear")]


def contributions(
    model: ir.Model, pictures: Sequence[np.ndarray], expected: Sequence[Outputs], progress: Progress | None = None
) -> dict[str, Levels]:
    """Per activation of ``model``, the PSNR of each output with that tensor alone on integers.

    Every other tensor is computed in float, with the weights as they are stored.

    Args:
        model: a QDQ graph.
        pictures: float32 [1, 3, S, S] each.
        expected: what the same graph makes of them with no activation rounded; see :func:`unrounded`.
        progress: told of each tensor done.
    """
    names = [tensor.name for tensor in tensors(model) if tensor.kind == ACTIVATION]
    found = {}
    for number, name in enumerate(names, start=1):
        errors = squared_errors(unrounded(model, keep=name), pictures, expected)
        found[name] = {output: _decibels(error) for output, error in errors.items()}
        if progress is not None:
            progress(number, len(names))
    return found


def unrounded(model: ir.Model, *, keep: str | None = None) -> ir.Model:
    """A copy of a QDQ graph whose activations are float, but for the tensor named ``keep``."""
    copy = model.clone()
    for quantise in edit.of_type(copy.graph, "QuantizeLinear"):
        restore = edit.only_consumer(quantise.outputs[0])
        if restore is None or restore.op_type != "DequantizeLinear" or _name(restore) == keep:
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


def _tensor(node: ir.Node) -> IntegerTensor:
    stored = edit.constant(node.inputs[0])
    scale = edit.weight(node, 1).ravel()
    zero = edit.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    point = 0 if zero is None else int(zero.ravel()[0])
    if stored is not None:
        return IntegerTensor.constant(_name(node), stored, scale, point)
    dtype = "int8" if zero is None else zero.dtype.name
    return IntegerTensor.activation(_name(node), dtype, float(scale[0]), point)


def _name(dequantise: ir.Node) -> str:
    """As in the float graph."""
    return str(dequantise.name).removesuffix(".restored")


def _decibels(error: float) -> float:
    return min(PSNR_CEILING, -10 * float(np.log10(max(error, 1e-20))))
