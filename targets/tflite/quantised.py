"""What a QDQ graph says of its integers.

A tensor's scale and zero point come from the QuantizeLinear / DequantizeLinear pair around
it. A node that reads dequantised tensors, and whose result is quantised at once, is an
integer node: TFLite runs it on the integers themselves, with no pair in the file. Any other
node between the pairs is a float island, and gets a DEQUANTIZE / QUANTIZE at its shore.

TFLite's integers are int8 (activations: one scale; weights: one per output channel,
symmetric); a uint8 tensor is the same numbers 128 higher (TFLite 8-bit quantisation
specification).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import LoweringError
from mfs_edge.graph import edit

from .flatbuffer import Quantisation

QUANTISE, DEQUANTISE = "QuantizeLinear", "DequantizeLinear"
_UINT8_OFFSET = 128


@dataclass(frozen=True)
class Codes:
    """A constant as integers: int8 or int32, in ONNX layout."""

    integers: np.ndarray
    quantisation: Quantisation

    def real(self) -> np.ndarray:
        """What the integers stand for, float64 of their shape, [O, k, k, I / group] or [O]."""
        scale, zero = self.quantisation.along(self.integers.ndim)
        return (self.integers.astype(np.float64) - zero) * scale.astype(np.float64)


def parameters(node: ir.Node) -> Quantisation:
    """Scale and zero point of a QuantizeLinear or DequantizeLinear, as of int8.

    Raises:
        LoweringError: they are computed, or of a type that TFLite has not.
    """
    scale = _initialiser(node, 1)
    given = _initialiser(node, 2) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    zero = np.zeros(scale.size, np.uint8) if given is None else given.ravel()
    if zero.dtype not in (np.uint8, np.int8, np.int32):
        raise LoweringError(
            f"{node.op_type} node {node.name}: zero point of type {zero.dtype} has no counterpart in TFLite; "
            "quantise to int8 or uint8"
        )
    shift = _UINT8_OFFSET if zero.dtype == np.uint8 else 0
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise LoweringError(f"{node.op_type} node {node.name}: its scale is not a positive number; calibrate again")
    # One scale has no axis: ONNX gives 1 all the same, and XNNPACK refuses tensors that do.
    axis = _axis(node) if scale.size > 1 else 0
    return Quantisation(scale.ravel().astype(np.float32), zero.astype(np.int64) - shift, axis)


def codes(value: ir.Value | None) -> Codes | None:
    """The integers of a constant that a DequantizeLinear makes; None if ``value`` is not one."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type != DEQUANTISE:
        return None
    array = _stored(node.inputs[0])
    if array is None:
        return None
    if array.dtype == np.uint8:
        array = (array.astype(np.int16) - _UINT8_OFFSET).astype(np.int8)
    quantisation = parameters(node)
    if array.dtype == np.int32 and len(node.inputs) < 3:  # a bias: no zero point is zero
        quantisation = Quantisation(quantisation.scale, np.zeros_like(quantisation.zero_point), quantisation.axis)
    return Codes(array, quantisation)


def _stored(source: ir.Value | None) -> np.ndarray | None:
    """The integers of an initialiser, or of a QuantizeLinear of one."""
    if source is None or source.const_value is not None:
        return None if source is None or source.const_value is None else source.const_value.numpy()
    node = source.producer()
    real = constant(node.inputs[0]) if node is not None and node.op_type == QUANTISE else None
    if node is None or real is None:
        return None
    scale, zero = parameters(node).along(real.ndim)
    codes = np.rint(real / scale) + zero
    return np.clip(codes, -128, 127).astype(np.int8)


def constant(value: ir.Value | None) -> np.ndarray | None:
    """A constant's real value, of any shape: an initialiser, or what a DequantizeLinear or Cast makes of one."""
    if value is None:
        return None
    if value.const_value is not None:
        return value.const_value.numpy()
    if (small := half(value)) is not None:
        return small.astype(np.float32)
    stored = codes(value)
    return None if stored is None else stored.real()


def half(value: ir.Value | None) -> np.ndarray | None:
    """A constant of any shape that is kept in float16, behind a Cast; None if ``value`` is not one."""
    node = edit.producer(value, "Cast")
    stored = None if node is None else edit.constant(node.inputs[0])
    return stored if stored is not None and stored.dtype == np.float16 else None


def integer_nodes(graph: ir.Graph, operators: Collection[str]) -> dict[ir.Node, ir.Node]:
    """The nodes that run on integers, each with the QuantizeLinear that ends it.

    Args:
        graph: a graph, with or without QDQ pairs.
        operators: the ONNX operators that TFLite has in int8.
    """
    found = {}
    for node in graph:
        end = _quantiser(node) if node.op_type in operators else None
        if end is not None and _reads_integers(node):
            found[node] = end
    return found


def _reads_integers(node: ir.Node) -> bool:
    if node.op_type == "Conv" and codes(node.inputs[1]) is None:
        return False  # a float weight makes a float island
    activations = [value for value in node.inputs if value is not None and constant(value) is None]
    return bool(activations) and all(is_dequantised(value) for value in activations)


def is_dequantised(value: ir.Value) -> bool:
    """Whether a DequantizeLinear computes ``value``."""
    node = value.producer()
    return node is not None and node.op_type == DEQUANTISE


def _quantiser(node: ir.Node) -> ir.Node | None:
    """The QuantizeLinear that alone reads what ``node`` computes."""
    uses = list(node.outputs[0].uses())
    if len(uses) != 1 or node.outputs[0].is_graph_output():
        return None
    return uses[0].node if uses[0].node.op_type == QUANTISE else None


def _initialiser(node: ir.Node, index: int) -> np.ndarray:
    value = node.inputs[index]
    if value is None or value.const_value is None:
        raise LoweringError(
            f"{node.op_type} node {node.name}: input {index} is not an initialiser; TFLite needs it fixed"
        )
    return value.const_value.numpy()


def _axis(node: ir.Node) -> int:
    found = node.attributes.get("axis")
    return found.as_int() if found is not None else 1
