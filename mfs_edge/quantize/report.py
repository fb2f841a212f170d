"""What a quantised graph says of its tensors, and what each of them costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from mfs_edge.base.fidelity import PSNR_CEILING
from mfs_edge.graph import edit
from mfs_edge.program import ACTIVATION, IntegerTensor
from mfs_edge.quantize import pairs
from mfs_edge.quantize.execute import Outputs, squared_errors
from mfs_edge.quantize.samples import Progress

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
        expected: what the same graph makes of them with no activation rounded; see :func:`pairs.drop`.
        progress: told of each tensor done.
    """
    names = [tensor.name for tensor in tensors(model) if tensor.kind == ACTIVATION]
    found = {}
    for number, name in enumerate(names, start=1):
        errors = squared_errors(pairs.drop(model, but=[name]), pictures, expected)
        found[name] = {output: _decibels(error) for output, error in errors.items()}
        if progress is not None:
            progress(number, len(names))
    return found


def _tensor(node: ir.Node) -> IntegerTensor:
    stored = edit.constant(node.inputs[0])
    scale = edit.weight(node, 1).ravel()
    zero = edit.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    point = 0 if zero is None else int(zero.ravel()[0])
    if stored is not None:
        return IntegerTensor.constant(pairs.tensor(node), stored, scale, point)
    dtype = "int8" if zero is None else zero.dtype.name
    return IntegerTensor.activation(pairs.tensor(node), dtype, float(scale[0]), point)


def _decibels(error: float) -> float:
    return min(PSNR_CEILING, -10 * float(np.log10(max(error, 1e-20))))
