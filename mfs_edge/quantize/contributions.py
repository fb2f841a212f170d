"""What each tensor of a quantised graph costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from mfs_edge.base.fidelity import Outputs
from mfs_edge.base.progress import Count
from mfs_edge.graph import edit
from mfs_edge.quantize import pairs
from mfs_edge.quantize.execute import squared_errors

Levels = dict[str, float]  # dB per output


def contributions(
    model: ir.Model, pictures: Sequence[np.ndarray], expected: Sequence[Outputs], progress: Count | None = None
) -> dict[str, Levels]:
    """Per activation of ``model``, the PSNR of each output with that tensor alone on integers.

    Every other tensor is computed in float, with the weights as they are stored.

    Args:
        model: a QDQ graph.
        pictures: float32 [1, 3, S, S] each.
        expected: what the same graph makes of them with no activation rounded; see :func:`pairs.drop`.
        progress: told of each tensor done.
    """
    restored = edit.of_type(model.graph, "DequantizeLinear")
    names = [pairs.tensor(node) for node in restored if edit.constant(node.inputs[0]) is None]
    found = {}
    for number, name in enumerate(names, start=1):
        errors = squared_errors(pairs.drop(model, but=[name]), pictures, expected)
        found[name] = {output: -10 * float(np.log10(max(error, 1e-20))) for output, error in errors.items()}
        if progress is not None:
            progress(number, len(names))
    return found
