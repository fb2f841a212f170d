"""Folded weights -> the plain ONNX graph, node for node as in the paper.

Nothing is optimised here: the passes do that, and this graph is what they are checked
against. Names are stable: a node and its output share one (``encoder.0.depthwise``), and
initialisers keep the official checkpoint keys (``Encoder.0.0.weight``).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from mfs_edge.base.version import __version__
from mfs_edge.graph.net import Net
from mfs_edge.networks import spec

# Opset 17 (ONNX 1.12) is the newest that the mobile runtimes of the last three years read,
# and the oldest with everything used here.
OPSET = 17
IR_VERSION = 8

IMAGE, SWAPPED, MASK = "image", "swapped", "mask"


def build(weights: Mapping[str, np.ndarray], *, size: int) -> ir.Model:
    """The plain graph of one static IDN.

    Args:
        weights: the IDN's official keys, [O, I, k, k] and [C] (see ``fold.FoldedIDN.weights``), float32;
            float64 gives a float64 graph, on which the passes' exactness is judged.
        size: S, a multiple of 32.

    Returns:
        A model with shapes inferred; onnx.checker accepts it.

    Raises:
        UsageError: the network cannot run at this size.
    """
    spec.check_size(size)
    net = _Builder(weights, size)
    x = net.normalise()
    skips = []
    for i in range(len(spec.ENCODER_CHANNELS) - 1):
        x = net.separable(f"encoder.{i}", f"Encoder.{i}", x, stride=2)
        skips.append(x)
    mask = net.mask_branch(x)
    for i, skip in enumerate(spec.DECODER_SKIP):
        x = net.up(f"decoder.{i}.up", x)
        x = net.separable(f"decoder.{i}", f"Decoder.{i}", x, stride=1)
        if skip is not None:
            x = net.op(f"decoder.{i}.concat", "Concat", x, skips[skip], axis=1)
    swapped = net.blend(net.tail(x), mask)
    return net.finish(swapped, mask)


class _Builder(Net):
    """One method per piece of the network."""

    def __init__(self, weights: Mapping[str, np.ndarray], size: int) -> None:
        super().__init__(next(iter(weights.values())).dtype)
        self.weights = weights
        self.size = size
        self.image = ir.val(IMAGE, dtype=ir.DataType.from_numpy(self.dtype), shape=[1, 3, size, size])

    def weight(self, key: str) -> ir.Value:
        return self.constant(key, self.weights[key])

    def conv(self, name: str, key: str, x: ir.Value, *, stride: int = 1, pad: int = 0, groups: int = 1) -> ir.Value:
        kernel = self.weights[f"{key}.weight"].shape[2:]
        bias = [self.weight(f"{key}.bias")] if f"{key}.bias" in self.weights else []
        return self.op(
            name,
            "Conv",
            x,
            self.weight(f"{key}.weight"),
            *bias,
            kernel_shape=list(kernel),
            strides=[stride, stride],
            pads=[pad] * 4,
            group=groups,
        )

    def depthwise(self, name: str, key: str, x: ir.Value, *, stride: int = 1) -> ir.Value:
        return self.conv(name, key, x, stride=stride, pad=1, groups=self.weights[f"{key}.weight"].shape[0])

    def norm(self, name: str, key: str, x: ir.Value) -> ir.Value:
        parts = ("weight", "bias", "running_mean", "running_var")
        parameters = [self.weight(f"{key}.{part}") for part in parts]
        return self.op(name, "BatchNormalization", x, *parameters, epsilon=spec.BATCH_NORM_EPS)

    def leaky(self, name: str, x: ir.Value) -> ir.Value:
        return self.op(name, "LeakyRelu", x, alpha=spec.LEAKY_SLOPE)

    def up(self, name: str, x: ir.Value) -> ir.Value:
        """x2 bilinear with aligned corners."""
        scales = self.constant("upsample.scales", np.array([1, 1, 2, 2]), np.dtype(np.float32))
        return self.op(name, "Resize", x, None, scales, mode="linear", coordinate_transformation_mode="align_corners")

    def normalise(self) -> ir.Value:
        half = self.constant("half", 0.5)
        centred = self.op("normalise.centre", "Sub", self.image, half)
        return self.op("normalise.scale", "Div", centred, half)

    def separable(self, name: str, key: str, x: ir.Value, *, stride: int) -> ir.Value:
        x = self.depthwise(f"{name}.depthwise", f"{key}.0", x, stride=stride)
        return self.leaky(f"{name}.leaky", self.conv(f"{name}.pointwise", f"{key}.1", x))

    def tail(self, x: ir.Value) -> ir.Value:
        """The decoder's output -> a face in 0..1."""
        x = self.conv("tail.0.conv", "final.1", self.up("tail.up", x))
        x = self.leaky("tail.0.leaky", self.norm("tail.0.norm", "final.2", x))
        x = self.conv("tail.1.conv", "final.4", x, pad=1)
        x = self.leaky("tail.1.leaky", self.norm("tail.1.norm", "final.5", x))
        x = self.op("tail.tanh", "Tanh", self.conv("tail.2.conv", "final.7", x, pad=1))
        raised = self.op("tail.raise", "Add", x, self.constant("one", 1.0))
        return self.op("tail.face", "Div", raised, self.constant("two", 2.0))

    def mask_branch(self, x: ir.Value) -> ir.Value:
        stages = len(spec.MASK_CHANNELS) - 1
        for i in range(stages):
            x = self.depthwise(f"mask.{i}.depthwise", f"mask.{i}.1", self.up(f"mask.{i}.up", x))
            x = self.norm(f"mask.{i}.norm", f"mask.{i}.3", self.conv(f"mask.{i}.pointwise", f"mask.{i}.2", x))
            x = self.leaky(f"mask.{i}.leaky", x)
        return self.op(MASK, "Sigmoid", self.conv(f"mask.{stages}.conv", f"mask.{stages}", x, pad=1))

    def blend(self, face: ir.Value, mask: ir.Value) -> ir.Value:
        """face * mask + (1 - mask) * image."""
        covered = self.op("blend.face", "Mul", face, mask)
        rest = self.op("blend.rest", "Sub", self.constant("one", 1.0), mask)
        kept = self.op("blend.image", "Mul", rest, self.image)
        return self.op(SWAPPED, "Add", covered, kept)

    def finish(self, swapped: ir.Value, mask: ir.Value) -> ir.Model:
        graph = self.graph("idn", [self.image], [swapped, mask], {"": OPSET})
        model = ir.Model(graph, ir_version=IR_VERSION, producer_name="mfs-edge", producer_version=__version__)
        for value, channels in ((swapped, 3), (mask, 1)):
            value.dtype, value.shape = ir.DataType.from_numpy(self.dtype), ir.Shape([1, channels, self.size, self.size])
        return ShapeInferencePass()(model).model
