"""One ONNX graph on its way to a TFLite program: which tensor stands for which value."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import LoweringError

from . import quantised
from .flatbuffer import Builder, Quantisation

BYTES = Quantisation.per_tensor(1 / 255, 0)  # a camera's 0..255 are 0..1
HALF_MAX = float(np.finfo(np.float16).max)

Shape = tuple[int, ...]


class Lowering:
    """Collects the program while the nodes are visited in order.

    Attributes:
        builder: what has been emitted.
        integer: the nodes that run on int8, with the QuantizeLinear that ends each.
        half: whether weights are kept in float16.
        keep_codes: whether int8 weights of convolutions that compute in float stay int8 in the file.
        padded: values of Pad nodes that their readers, all Convs, take over (see ``lowering``).
    """

    def __init__(
        self, graph: ir.Graph, *, half: bool, integer: dict[ir.Node, ir.Node], keep_codes: bool = False
    ) -> None:
        self.builder = Builder()
        self.graph = graph
        self.half = half
        self.keep_codes = keep_codes
        self.integer = integer
        self.padded: dict[ir.Value, ir.Node] = {}
        self._tensors: dict[ir.Value, int] = {}
        self._derived: dict[tuple[object, ...], int] = {}

    # Values and tensors.

    def bind(self, value: ir.Value, tensor: int) -> None:
        """From now on ``tensor`` stands for ``value``."""
        self._tensors[value] = tensor

    def tensor(self, value: ir.Value) -> int:
        """The float tensor of a computed value, or the integer one of a quantised value."""
        if value not in self._tensors:
            if not quantised.is_dequantised(value):
                raise LoweringError(f"value {value.name} is used before any node computes it; sort the graph's nodes")
            self.bind(value, self.dequantised(str(value.name), self.stored(value)))
        return self._tensors[value]

    def stored(self, value: ir.Value) -> int:
        """The int8 tensor behind a dequantised ``value``."""
        node = value.producer()
        source = node.inputs[0] if node is not None else None
        if source is None:
            raise LoweringError(f"value {value.name} is not a quantised tensor")
        return self.tensor(source)

    def activation(self, node: ir.Node, index: int = 0) -> int:
        """The tensor that ``node`` reads as input ``index``: int8 for integer nodes, else float32."""
        value = node.inputs[index]
        if value is None:
            raise LoweringError(f"{node.op_type} node {node.name}: input {index} is missing")
        return self.stored(value) if node in self.integer else self.tensor(value)

    def shape(self, tensor: int) -> Shape:
        """NHWC."""
        return self.builder.tensors[tensor].shape

    def quantisation(self, tensor: int) -> Quantisation:
        found = self.builder.tensors[tensor].quantisation
        if found is None:
            raise LoweringError(f"tensor {self.builder.tensors[tensor].name} has no scale")
        return found

    # Results.

    def result_quantisation(self, node: ir.Node) -> Quantisation | None:
        """What the QuantizeLinear behind an integer node asks for; None for a float node."""
        end = self.integer.get(node)
        return None if end is None else quantised.parameters(end)

    def result(self, node: ir.Node, shape: Sequence[int]) -> int:
        """The tensor that ``node`` writes, named as in the graph.

        Raises:
            LoweringError: the graph gives the value another shape.
        """
        output = node.outputs[0]
        self._check_shape(node, tuple(shape))
        quantisation = self.result_quantisation(node)
        dtype = "float32" if quantisation is None else "int8"
        tensor = self.builder.tensor(str(output.name), dtype, shape, quantisation=quantisation)
        self.bind(self.integer[node].outputs[0] if node in self.integer else output, tensor)
        return tensor

    def intermediate(self, node: ir.Node, name: str, shape: Sequence[int]) -> int:
        """A tensor on the way to ``node``'s result, with its type and scale."""
        quantisation = self.result_quantisation(node)
        dtype = "float32" if quantisation is None else "int8"
        return self.builder.tensor(f"{node.outputs[0].name}.{name}", dtype, shape, quantisation=quantisation)

    def emit(
        self, node: ir.Node, code: str, inputs: Sequence[int], shape: Sequence[int], options: str | None, **fields: Any
    ) -> None:
        """The operator that computes what ``node`` does."""
        self.builder.operator(code, inputs, [self.result(node, shape)], options, **fields)

    def _check_shape(self, node: ir.Node, shape: Shape) -> None:
        stated = node.outputs[0].shape
        if stated is None or not stated.is_static() or len(stated) != 4:
            return
        n, c, h, w = (int(dim) for dim in stated.numpy())
        if (n, h, w, c) != shape:
            raise LoweringError(
                f"{node.op_type} node {node.name}: computes {shape} (NHWC), the graph says {(n, h, w, c)}"
            )

    # Derived tensors, each made once.

    def requantised(self, tensor: int, quantisation: Quantisation) -> int:
        """``tensor`` under another scale and zero point; itself if they are the same."""
        if self.quantisation(tensor).same(quantisation):
            return tensor
        key = ("requantised", tensor, quantisation.scale.tobytes(), quantisation.zero_point.tobytes())
        if key not in self._derived:
            spec = self.builder.tensors[tensor]
            out = self.builder.tensor(f"{spec.name}.rescaled", "int8", spec.shape, quantisation=quantisation)
            self.builder.operator("QUANTIZE", [tensor], [out], "Quantize")
            self._derived[key] = out
        return self._derived[key]

    def shifted(self, tensor: int, amount: float) -> tuple[int, float]:
        """``tensor`` less ``amount``, and the amount really taken: int8 goes in whole steps, and exactly."""
        key = ("shifted", tensor, amount)
        spec = self.builder.tensors[tensor]
        steps = 0
        if spec.quantisation is not None:
            steps = spec.quantisation.steps(amount)
            amount = steps * float(spec.quantisation.scale[0])
        if key not in self._derived:
            self._derived[key] = self._subtract(tensor, amount, steps)
        return self._derived[key], amount

    def _subtract(self, tensor: int, amount: float, steps: int) -> int:
        spec = self.builder.tensors[tensor]
        name, quantisation = f"{spec.name}.shifted", spec.quantisation
        if quantisation is None:
            constant = self.builder.constant(f"{name}.by", np.array(amount, np.float32))
        else:
            zero = -128 if steps >= 0 else 127
            held = Quantisation(quantisation.scale, np.array([zero], np.int64))
            constant = self.builder.constant(f"{name}.by", np.array(steps + zero, np.int8), quantisation=held)
            quantisation = Quantisation(quantisation.scale, quantisation.zero_point + steps)
        out = self.builder.tensor(name, spec.dtype, spec.shape, quantisation=quantisation)
        self.builder.operator("SUB", [tensor, constant], [out], "Sub")
        return out

    def integers(self, name: str, values: Any) -> int:
        """An int32 constant, such as a size; equal ones are one tensor."""
        array = np.asarray(values, np.int32)
        key = ("integers", array.shape, array.tobytes())
        if key not in self._derived:
            self._derived[key] = self.builder.constant(name, array)
        return self._derived[key]

    def weight(self, name: str, array: np.ndarray) -> int:
        """A float weight in its final layout, [O, k, k, I] or [1, k, k, C]; kept in half precision if asked for.

        Raises:
            LoweringError: it does not fit half precision.
        """
        exact = np.ascontiguousarray(array, np.float32)
        if not self.half:
            return self.builder.constant(name, exact)
        largest = float(np.abs(exact).max(initial=0))
        if not largest <= HALF_MAX:
            raise LoweringError(
                f"weight {name} reaches {largest:.3g}, beyond float16's {HALF_MAX:.0f}; "
                "use --precision fp32, or balance the graph first"
            )
        stored = self.builder.constant(f"{name}.half", exact.astype(np.float16))
        return self.dequantised(name, stored)

    def dequantised(self, name: str, tensor: int) -> int:
        """``tensor`` in float32: a DEQUANTIZE."""
        out = self.builder.tensor(name, "float32", self.shape(tensor))
        self.builder.operator("DEQUANTIZE", [tensor], [out], "Dequantize")
        return out

    # The edges.
    #
    # Bytes become floats there, and floats bytes, in an int8 program too: XNNPACK has no
    # conversion between uint8 and int8. TFLite's own takes 0.11 ms for a 224 px image, outside
    # the partition; a DEQUANTIZE and a QUANTIZE take 0.02 ms together, inside it, and give
    # the same integers.

    def take_image(self, value: ir.Value, *, as_bytes: bool) -> int:
        """The input tensor; its float form stands for ``value``."""
        shape = _nhwc(value)
        if not as_bytes:
            tensor = self.builder.tensor(str(value.name), "float32", shape)
            self.bind(value, tensor)
            return tensor
        tensor = self.builder.tensor(str(value.name), "uint8", shape, quantisation=BYTES)
        self.bind(value, self.dequantised(f"{value.name}.float", tensor))
        return tensor

    def give(self, value: ir.Value, *, as_bytes: bool) -> int:
        """The output tensor for ``value``, under its name."""
        tensor, name = self.tensor(value), str(value.name)
        if not as_bytes:
            return tensor
        self.rename(tensor, f"{name}.float")
        out = self.builder.tensor(name, "uint8", self.shape(tensor), quantisation=BYTES)
        self.builder.operator("QUANTIZE", [tensor], [out], "Quantize")
        return out

    def rename(self, tensor: int, name: str) -> None:
        self.builder.tensors[tensor] = dataclasses.replace(self.builder.tensors[tensor], name=name)


def _nhwc(value: ir.Value) -> Shape:
    shape = value.shape
    if shape is None or not shape.is_static() or len(shape) != 4:
        raise LoweringError(
            f"input {value.name} has no fixed [N, C, H, W] shape; TFLite files are compiled for one size"
        )
    n, c, h, w = (int(dim) for dim in shape.numpy())
    return n, h, w, c
