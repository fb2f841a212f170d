"""Graphs of the family in other widths and sizes: the C computes what onnxruntime does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from mfs_edge.targets.native import NativeTarget, engine
from onnx_ir.passes.common import ShapeInferencePass

from mfs_edge.graph.session import Session
from mfs_edge.target import EmitOptions

SLOPE = 0.1


class Builder:
    """A face-swap graph of any widths, weights drawn at random."""

    def __init__(self, seed: int, size: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.size, self.nodes, self.constants = size, list[ir.Node](), list[ir.Value]()

    def constant(self, name: str, array: np.ndarray) -> ir.Value:
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(ir.DataType.FLOAT))
        value.const_value = ir.Tensor(np.asarray(array, np.float32), name=name)
        self.constants.append(value)
        return value

    def node(self, name: str, kind: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        made = ir.node(kind, inputs, attributes, outputs=[ir.Value(name=name)], name=name)
        self.nodes.append(made)
        return made.outputs[0]

    def conv(
        self, name: str, x: ir.Value, shape: tuple[int, ...], *, bias: bool = True, **attributes: object
    ) -> ir.Value:
        fan = float(np.prod(shape[1:]))
        given = [self.constant(f"{name.capitalize()}.w", self.rng.normal(0, 1.3 / np.sqrt(fan), shape))]
        if bias:
            given.append(self.constant(f"{name}.b", self.rng.normal(0, 0.1, shape[0])))
        return self.node(name, "Conv", x, *given, kernel_shape=list(shape[2:]), **attributes)

    def pair(self, name: str, x: ir.Value, inner: int, outer: int, side: int) -> ir.Value:
        step = [2, 2] if side == 4 else [1, 1]
        bias = bool(self.rng.integers(2))
        x = self.conv(
            f"{name}.depthwise", x, (inner, 1, side, side), bias=bias, group=inner, strides=step, pads=[1] * 4
        )
        x = self.conv(f"{name}.pointwise", x, (outer, inner, 1, 1), bias=not bias)
        return self.node(f"{name}.leaky", "LeakyRelu", x, alpha=SLOPE)

    def up(self, name: str, x: ir.Value) -> ir.Value:
        scales = self.constant(f"{name}.scales", np.array([1, 1, 2, 2]))
        modes = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
        return self.node(name, "Resize", x, None, scales, **modes)

    def model(self, encoder: list[int], decoder: list[int], mask: list[int], squeeze: int) -> ir.Model:
        image = ir.val("image", dtype=ir.DataType.FLOAT, shape=[1, 3, self.size, self.size])
        x = self.node("normalise.centre", "Sub", image, self.constant("half", np.array(0.5)))
        reached, inner = [], 3
        for i, outer in enumerate(encoder):
            x = self.pair(f"encoder.{i}", x, inner, outer, 4)
            reached.append((x, outer))
            inner = outer
        deepest = x
        up = self.up("mask.0.up", deepest)
        m, width = up, inner
        for i, outer in enumerate(mask):
            m = self.pair(f"mask.{i}", m if i == 0 else self.up(f"mask.{i}.up", m), width, outer, 3)
            width = outer
        m = self.conv("mask.5.conv", m, (1, width, 3, 3), pads=[1] * 4)
        shown = self.node("mask", "Sigmoid", m)
        y, width = up, inner
        for i, outer in enumerate(decoder):
            y = self.pair(f"decoder.{i}", y, width, outer, 3)
            width = outer
            if i < len(decoder) - 1:
                skip, more = reached[-2 - i]
                y = self.up(f"decoder.{i + 1}.up", self.node(f"decoder.{i}.concat", "Concat", y, skip, axis=1))
                width += more
        y = self.up("tail.0.up", self.conv("tail.0.conv", y, (squeeze, width, 1, 1)))
        y = self.node("tail.0.leaky", "LeakyRelu", y, alpha=SLOPE)
        y = self.conv("tail.1.conv", y, (5, squeeze, 3, 3), pads=[1] * 4)
        y = self.node("tail.1.leaky", "LeakyRelu", y, alpha=SLOPE)
        y = self.node("tail.face", "Sigmoid", self.conv("tail.2.conv", y, (3, 5, 3, 3), pads=[1] * 4))
        weighted = self.node("blend.weighted", "Mul", self.node("blend.difference", "Sub", y, image), shown)
        swapped = self.node("swapped", "Add", image, weighted)
        graph = ir.Graph(
            [image], [swapped, shown], nodes=self.nodes, initializers=self.constants, opset_imports={"": 17}
        )
        for value in graph.outputs:
            value.dtype = ir.DataType.FLOAT
        return ShapeInferencePass()(ir.Model(graph, ir_version=8)).model


@pytest.mark.parametrize("seed", range(16))
def test_any_width_and_size(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1000 + seed)
    size = int(32 * rng.integers(1, 5))
    encoder = [int(n) for n in rng.integers(3, 70, 5)]
    decoder = [int(n) for n in rng.integers(3, 70, 4)]
    mask = [int(n) for n in rng.integers(2, 40, 5)]
    model = Builder(seed, size).model(encoder, decoder, mask, int(rng.integers(3, 20)))
    image = rng.random((1, 3, size, size), dtype=np.float32)
    expected = Session(model).run({"image": image})
    target = NativeTarget()
    target.emit(model, tmp_path / "a.idn", EmitOptions())
    best = engine.Engine(str(tmp_path / "a.idn"), threads=1).model.cpu
    monkeypatch.setenv("MFS_EDGE_IDN_CPU", str(int(rng.integers(best + 1))))
    found = target.load(tmp_path / "a.idn", threads=int(rng.integers(1, 4))).run(image)
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() < 5e-5
