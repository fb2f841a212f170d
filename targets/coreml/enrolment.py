"""The MIL program of an enrolment graph: float32 arithmetic, on weights that are kept in float32, float16 or int8.

Fifty layers in half precision would lose what tells people apart, and it runs once per person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mfs_edge.base.errors import LoweringError
from mfs_edge.graph import edit

from . import (
    program,
    quantised,  # noqa: F401 (its rules)
)
from .lowering import Lowering, lowers

if TYPE_CHECKING:
    import onnx_ir as ir


def build(model: ir.Model, *, min_ios: int) -> Any:
    """The ``coremltools`` program of ``model``; multi-arrays of float32 in and out.

    Raises:
        LoweringError: a node has no counterpart, or a shape is not static.
    """
    return program.lowered(model, np.float32, io="float32", min_ios=min_ios)


@lowers("MaxPool")
def _max_pool(low: Lowering, node: ir.Node) -> Any:
    if any(edit.integers(node, "pads")):
        raise low.refuse(node, "pools without padding only")
    return low.mil.max_pool(
        x=low.value(node.inputs[0]),
        kernel_sizes=list(edit.integers(node, "kernel_shape")),
        strides=list(edit.integers(node, "strides", (1, 1))),
        pad_type="valid",
        name=low.name(node),
    )


@lowers("GlobalAveragePool")
def _mean(low: Lowering, node: ir.Node) -> Any:
    return low.mil.reduce_mean(x=low.value(node.inputs[0]), axes=[2, 3], keep_dims=True, name=low.name(node))


@lowers("Sqrt")
def _sqrt(low: Lowering, node: ir.Node) -> Any:
    return low.mil.sqrt(x=low.value(node.inputs[0]), name=low.name(node))


@lowers("Transpose")
def _transpose(low: Lowering, node: ir.Node) -> Any:
    return low.mil.transpose(x=low.value(node.inputs[0]), perm=list(edit.integers(node, "perm")), name=low.name(node))


@lowers("Reshape")
def _reshape(low: Lowering, node: ir.Node) -> Any:
    sizes = edit.constant(node.inputs[1])
    if sizes is None:
        raise low.refuse(node, "needs a constant shape")
    return low.mil.reshape(x=low.value(node.inputs[0]), shape=[int(size) for size in sizes], name=low.name(node))


@lowers("Cast")
def _cast(low: Lowering, node: ir.Node) -> Any:
    """A weight that is kept in half precision, or a result that is given in it."""
    small = edit.constant(node.inputs[0])
    if small is not None:
        return low.mil.constexpr_cast(source_val=small, output_dtype="fp32", name=low.name(node))
    if node.attributes["to"].as_int() != HALF:
        raise LoweringError(f"node {node.name!r}: Core ML operator for ONNX Cast gives float16 only")
    return low.mil.cast(x=low.value(node.inputs[0]), dtype="fp16", name=low.name(node))


HALF = 10  # onnx.TensorProto.FLOAT16
