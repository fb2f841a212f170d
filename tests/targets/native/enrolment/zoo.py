"""A small graph with every operator that enrolment in C has, at ragged sizes; and what numpy makes of it in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from mfs_edge.graph import edit
from mfs_edge.graph.net import Net

SIZE = 30  # of the crop
STORED = ("float", "half", "code")
# Outputs, kernel, stride, border of convolutions that read the stem's 13 x 13 pixels of 20 channels.
CONVS = [
    (33, 3, 1, 1),
    (48, 3, 2, 1),
    (17, 1, 1, 0),
    (64, 1, 2, 0),
    (7, 5, 1, 2),
    (40, 2, 1, 0),
    (32, 13, 1, 0),
    (5, 13, 1, 0),
]
Forward = Callable[[np.ndarray], np.ndarray]


class Zoo:
    """Collects branches, each of which ends in the payload."""

    def __init__(self, seed: int = 0) -> None:
        self.net, self.rng = Net(np.dtype(np.float32)), np.random.default_rng(seed)
        self.crop = ir.val("crop", dtype=ir.DataType.FLOAT, shape=[1, 3, SIZE, SIZE])
        self.flat: list[ir.Value] = []

    def random(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return self.rng.normal(0, scale, shape)

    def constant(self, name: str, *shape: int, low: float | None = None) -> ir.Value:
        found = self.random(*shape) if low is None else self.rng.uniform(low, low + 1, shape)
        return self.net.constant(name, found)

    def weight(self, name: str, stored: str, array: np.ndarray) -> ir.Value:
        """As ``mfs_edge.enrolment.storage`` keeps it."""
        if stored == "float":
            return self.net.constant(f"{name}.weight", array)
        if stored == "half":
            held = self.net.constant(f"{name}.half", array, np.dtype(np.float16))
            return self.net.op(f"{name}.weight", "Cast", held, to=ir.DataType.FLOAT.value)
        codes = self.net.constant(f"{name}.codes", self.rng.integers(-127, 128, array.shape), np.dtype(np.int8))
        scale = self.net.constant(f"{name}.scale", np.abs(array).mean(axis=(1, 2, 3)) / 64)
        zero = self.net.constant(f"{name}.zero", np.zeros(len(array)), np.dtype(np.int8))
        return self.net.op(f"{name}.weight", "DequantizeLinear", codes, scale, zero, axis=0)

    def conv(
        self, name: str, x: ir.Value, inputs: int, outputs: int, size: int, *, stride: int = 1, pad: int = 0,
        stored: str = "float", group: int = 1, bias: bool = True,
    ) -> ir.Value:  # fmt: skip
        array = self.random(outputs, inputs // group, size, size, scale=1 / np.sqrt(inputs // group * size**2))
        weight = self.weight(name, stored, array)
        biases = [self.constant(f"{name}.bias", outputs)] if bias else []
        shape = {"kernel_shape": [size, size], "strides": [stride] * 2, "pads": [pad] * 4, "group": group}
        return self.net.op(name, "Conv", x, weight, *biases, **shape)

    def keep(self, name: str, value: ir.Value, order: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        if order != (0, 1, 2, 3):
            value = self.net.op(f"{name}.turned", "Transpose", value, perm=list(order))
        size = self.net.constant("flat", np.array([-1]), np.dtype(np.int64))
        self.flat.append(self.net.op(f"{name}.flat", "Reshape", value, size))

    def model(self, payload: str = "float") -> ir.Model:
        end = self.net.op("payload.real", "Concat", *self.flat, axis=0)
        casts = {"half": ["FLOAT16"], "rounded": ["FLOAT16", "FLOAT"]}.get(payload, [])
        for number, kind in enumerate(casts):
            end = self.net.op(f"payload.{number}", "Cast", end, to=ir.DataType[kind].value)
        if payload == "code":
            zero = self.net.constant("zero", 0, np.dtype(np.int8))
            end = self.net.op("payload.code", "QuantizeLinear", end, self.net.constant("step", 1.0), zero)
        self.net.nodes[-1].outputs[0].name = "payload"
        graph = self.net.graph("enrol", [self.crop], [end], {"": 21})
        return ShapeInferencePass()(ir.Model(graph, ir_version=10)).model


def whole(payload: str = "float", seed: int = 0) -> ir.Model:
    """Every operator; values of some 0.01 to 100, so that each way to round them matters."""
    zoo = Zoo(seed)
    x = zoo.net.op("stem.leaky", "LeakyRelu", zoo.conv("stem", zoo.crop, 3, 20, 6, stride=2, stored="half"), alpha=-0.3)
    zoo.keep("wide", zoo.conv("wide", zoo.crop, 3, 5, 3, stored="code"))
    for number, (outputs, size, stride, pad) in enumerate(CONVS):
        name, stored = f"conv.{number}", STORED[number % 3]
        y = zoo.conv(name, x, 20, outputs, size, stride=stride, pad=pad, stored=stored, bias=number != 3)
        zoo.keep(
            name, zoo.net.op(f"{name}.leaky", "LeakyRelu", y, alpha=0.25 * number) if number % 2 else y, (0, 2, 3, 1)
        )
    _maps(zoo, x)
    _rows(zoo, x)
    _identity(zoo, x)
    return zoo.model(payload)


def _maps(zoo: Zoo, x: ir.Value) -> None:
    """Maxima, expressions over maps, and a sum that two read."""
    net = zoo.net
    pooled = net.op("pooled", "MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    zoo.keep("pooled", pooled)
    zoo.keep("halved", net.op("halved", "MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), (1, 0, 3, 2))
    normal = net.op("scaled", "Mul", x, zoo.constant("scale", 1, 20, 1, 1))
    normal = net.op("shifted", "Add", normal, zoo.constant("shift", 1, 20, 1, 1))
    y = zoo.conv("inner", normal, 20, 20, 3, pad=1)
    gate = net.op(
        "gate", "Sigmoid", zoo.conv("gate.of", net.op("mean", "GlobalAveragePool", y), 20, 20, 1, stored="half")
    )
    total = net.op("total", "Add", net.op("gated", "Mul", y, gate), x)
    both = net.op("both", "LeakyRelu", total, alpha=0.1)
    zoo.keep("both", both)
    zoo.keep(
        "once more", net.op("again", "Sub", net.op("less", "Sub", both, total), zoo.constant("grid", 1, 1, 13, 13))
    )
    zoo.keep(
        "joined",
        net.op("joined", "Concat", net.op("few", "Mul", pooled, zoo.constant("by", 1, 20, 6, 6)), pooled, axis=1),
    )


def _rows(zoo: Zoo, x: ir.Value) -> None:
    """What has one pixel."""
    net = zoo.net
    mean = net.op("means", "GlobalAveragePool", x)
    for stored in STORED:
        few = zoo.conv(f"few.{stored}", mean, 20, 3, 1, stored=stored)
        zoo.keep(f"few.{stored}", net.op(f"few.{stored}.leaky", "LeakyRelu", few, alpha=0.5))
    square = net.op("square", "Mul", mean, mean)
    root = net.op("root", "Sqrt", zoo.conv("energy", square, 20, 1, 1, bias=False))  # maybe of what is negative
    safe = net.op("safe", "Sqrt", net.op("more", "Add", square, net.constant("tiny", 1e-3)))
    zoo.keep("unit", net.op("unit", "Div", zoo.constant("ones", 1, 20, 1, 1), safe))
    squared = net.op("root.square", "Mul", root, root)
    zoo.keep(
        "spread",
        net.op(
            "spread",
            "Mul",
            zoo.constant("some", 1, 35, 1, 1),
            net.op("flat.root", "Mul", squared, net.constant("zero.of", 0.0)),
        ),
    )
    zoo.keep("row", net.op("row", "Concat", mean, net.op("twice", "Add", mean, mean), square, axis=1))


def _identity(zoo: Zoo, x: ir.Value) -> None:
    """What an identity's tensors are made by: kernels in groups, several pictures, and clipping."""
    net = zoo.net
    kernels = zoo.conv("kernels", x, 20, 20, 10)  # 4 x 4 pixels
    for stored in STORED:
        parts = zoo.conv(f"parts.{stored}", kernels, 20, 60, 4, group=20, stored=stored, bias=False)
        zoo.keep(f"parts.{stored}", parts)
    many = net.op("many", "Mul", zoo.constant("shared", 8, 20, 1, 1), net.op("one", "GlobalAveragePool", kernels))
    zoo.keep("pairs", zoo.conv("pairs", many, 20, 18, 1, stored="code"), (2, 3, 1, 0))
    big = net.op("big", "Mul", many, net.constant("hundred", 300.0))
    most = net.constant("most", 127.0)
    turned = net.op("turned", "Mul", big, net.constant("minus", -1.0))
    above, below = (
        net.op(f"{side}", "LeakyRelu", net.op(f"{side}.by", "Sub", value, most), alpha=0.0)
        for side, value in (("above", big), ("below", turned))
    )
    beyond = net.op("beyond", "Sub", above, below)
    zoo.keep("clipped", net.op("clipped", "Sub", big, beyond), (3, 1, 0, 2))


def crop(seed: int) -> np.ndarray:
    """Float32 [1, 3, 30, 30] in 0..1."""
    return np.random.default_rng(seed).uniform(0, 1, (1, 3, SIZE, SIZE)).astype(np.float32)


def computed(model: ir.Model, crop: np.ndarray) -> np.ndarray:
    """The payload before it is rounded, by numpy in float64."""
    values: dict[str, np.ndarray] = {"crop": crop.astype(np.float64)}
    for name, held in model.graph.initializers.items():
        array = held.const_value.numpy()  # type: ignore[union-attr]
        values[name] = array if array.dtype == np.int64 else array.astype(np.float64)
    found = crop
    for node in model.graph:
        if node.op_type == "QuantizeLinear" or (
            node.op_type == "Cast" and node.inputs[0].name not in model.graph.initializers
        ):  # type: ignore[union-attr]
            break
        found = _one(node, [values[str(value.name)] for value in node.inputs if value is not None])
        values[str(node.outputs[0].name)] = found
    return found


def _one(node: ir.Node, given: list[np.ndarray]) -> np.ndarray:
    first = given[0]
    simple: Mapping[str, Callable[[], np.ndarray]] = {
        "Add": lambda: first + given[1], "Sub": lambda: first - given[1], "Mul": lambda: first * given[1],
        "Div": lambda: first / given[1], "Sqrt": lambda: np.sqrt(first), "Sigmoid": lambda: 1 / (1 + np.exp(-first)),
        "Reshape": lambda: first.reshape(-1), "Cast": lambda: first,
        "GlobalAveragePool": lambda: first.mean(axis=(2, 3), keepdims=True),
        "LeakyRelu": lambda: np.where(first > 0, first, first * node.attributes["alpha"].as_float()),
        "Transpose": lambda: first.transpose(edit.integers(node, "perm")),
        "Concat": lambda: np.concatenate(given, axis=node.attributes["axis"].as_int()),
        "DequantizeLinear": lambda: first * given[1].reshape(-1, *[1] * (first.ndim - 1)),
        "MaxPool": lambda: _windows(first, node, 0).max(axis=(4, 5)),
        "Conv": lambda: _conv(node, *given),
    }  # fmt: skip
    with np.errstate(invalid="ignore", over="ignore"):
        return simple[node.op_type]()


def _windows(x: np.ndarray, node: ir.Node, pad: int) -> np.ndarray:
    """[N, C, H, W, k, k]"""
    side, step = edit.integers(node, "kernel_shape"), edit.integers(node, "strides")[0]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    return np.lib.stride_tricks.sliding_window_view(padded, side, axis=(2, 3))[:, :, ::step, ::step]


def _conv(node: ir.Node, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    seen, group = _windows(x, node, edit.integers(node, "pads")[0]), edit.group(node)
    if group == 1:
        found = np.einsum("nchwyx,ocyx->nohw", seen, weight)
    else:
        found = np.einsum("nchwyx,ocyx->nohw", seen[:, :1] * 0, weight[:, :1]) + np.concatenate(
            [np.einsum("nhwyx,oyx->nohw", seen[:, c], part[:, 0]) for c, part in enumerate(np.split(weight, group))],
            axis=1,
        )
    return found if bias is None else found + bias[None, :, None, None]
