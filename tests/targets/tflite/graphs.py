"""Graphs for tests: the network's, and small ones made of one operator each."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
from mfs_edge.targets.tflite import TfliteTarget
from onnx_ir.passes.common import ShapeInferencePass

from mfs_edge.graph import build, passes
from mfs_edge.target import EmitOptions

Arrays = Mapping[str, np.ndarray]
Spec = tuple[str, Sequence[object], Mapping[str, object]]


def idn(weights: Arrays, *, size: int, level: int = 1) -> ir.Model:
    """The network's graph, optimised at ``level``."""
    return passes.optimise(build.build(weights, size=size), level=level)


def nchw(image: np.ndarray) -> np.ndarray:
    """A golden picture, uint8 [S, S, 3] -> float32 [1, 3, S, S]."""
    return np.ascontiguousarray((image.astype(np.float32) / 255).transpose(2, 0, 1)[None])


def write(model: ir.Model, folder: Path, *, precision: str = "fp32", io: str = "float32") -> Path:
    path = folder / f"{precision}-{io}.tflite"
    TfliteTarget().emit(model, path, EmitOptions(precision, io, {"identity_sha256": "ab" * 32}))
    return path


def chain(size: int, swapped: Sequence[Spec], *, channels: int = 3) -> ir.Model:
    """image -> ``swapped`` through a chain of nodes; ``mask`` is a pointwise Conv and a Sigmoid of the image.

    Args:
        size: S.
        swapped: per node: operator, other inputs (arrays, None, or the name of a tensor), attributes.
            The result must be [1, ``channels``, S, S].
    """
    image = ir.val("image", dtype=ir.DataType.FLOAT, shape=[1, 3, size, size])
    net = _Chain({"image": image})
    x = image
    for number, (op_type, others, attributes) in enumerate(swapped):
        name = "swapped" if number == len(swapped) - 1 else f"{op_type.lower()}.{number}"
        x = net.node(op_type, name, [x, *others], attributes)
    kernel = np.full((1, 3, 1, 1), 0.4, np.float32)
    mask = net.node("Sigmoid", "mask", [net.node("Conv", "mask.conv", [image, kernel], {})], {})
    mask.dtype, mask.shape = ir.DataType.FLOAT, ir.Shape([1, 1, size, size])
    x.dtype, x.shape = ir.DataType.FLOAT, ir.Shape([1, channels, size, size])
    graph = ir.Graph(
        [image],
        [x, mask],
        nodes=net.nodes,
        initializers=net.initialisers,
        opset_imports={"": build.OPSET},
        name="chain",
    )
    return ShapeInferencePass()(ir.Model(graph, ir_version=build.IR_VERSION)).model


class _Chain:
    def __init__(self, values: dict[str, ir.Value]) -> None:
        self.values = values
        self.nodes: list[ir.Node] = []
        self.initialisers: list[ir.Value] = []

    def node(self, op_type: str, name: str, inputs: Sequence[object], attributes: Mapping[str, object]) -> ir.Value:
        output = ir.Value(name=name)
        resolved = [self._resolve(f"{name}.{number}", item) for number, item in enumerate(inputs)]
        self.nodes.append(ir.node(op_type, resolved, attributes, outputs=[output], name=name))  # type: ignore[arg-type]
        self.values[name] = output
        return output

    def _resolve(self, name: str, item: object) -> ir.Value | None:
        if item is None or isinstance(item, ir.Value):
            return item
        if isinstance(item, str):
            return self.values[item]
        tensor = ir.Tensor(np.asarray(item), name=name)
        value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.initialisers.append(value)
        return value


@functools.cache
def noise(size: int, seed: int = 0) -> np.ndarray:
    """float32 [1, 3, S, S] in 0..1."""
    return np.random.default_rng(seed).random((1, 3, size, size), dtype=np.float32)
