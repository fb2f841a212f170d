"""ONNX nodes -> TFLite operators: one function per ONNX operator, NHWC throughout.

A value that ONNX keeps as [N, C, H, W] is a [N, H, W, C] tensor from the first operator to
the last, so nothing is ever transposed; weights are laid out once, here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import LoweringError

from . import conv, padding, quantised
from .context import Lowering, Shape
from .flatbuffer import Quantisation

Rule = Callable[[Lowering, ir.Node], None]

RULES: dict[str, Rule] = {}
INTEGER_OPERATORS: set[str] = set()

NHWC = {0: 0, 1: 3, 2: 1, 3: 2}  # axis in NCHW -> in NHWC
_AT_ONCE = 4  # operands of a concatenation that every XNNPACK takes
# XNNPACK's int8 leaky ReLU multiplies negative inputs by no less (xnn_define_leaky_relu). A
# result that shares its scale with a much larger operand of a concat would need less.
_LEAST_SLOPE = 1 / 256
# TFLite fixes what a sigmoid's int8 result means (8-bit quantisation specification, LOGISTIC).
_SIGMOID = Quantisation.per_tensor(1 / 256, -128)


def lowers(op_type: str, *, integer: bool = False) -> Callable[[Rule], Rule]:
    """Register the lowering of ONNX operator ``op_type``; ``integer`` if it also runs on int8."""

    def register(rule: Rule) -> Rule:
        RULES[op_type] = rule
        if integer:
            INTEGER_OPERATORS.add(op_type)
        return rule

    return register


def lower(
    graph: ir.Graph, *, half: bool, as_bytes: bool, keep_codes: bool = False
) -> tuple[Lowering, dict[str, int], dict[str, int]]:
    """Lower a whole graph.

    Args:
        graph: nodes in topological order, float32 or QDQ.
        half: keep weights in float16.
        as_bytes: uint8 0..255 at the edges instead of float32 0..1.
        keep_codes: see ``Lowering``.

    Returns:
        The lowering, and the tensor index of each input and output by name.

    Raises:
        LoweringError: a node has no counterpart; names node and operator.
    """
    integer = quantised.integer_nodes(graph, INTEGER_OPERATORS)
    low = Lowering(graph, half=half, integer=integer, keep_codes=keep_codes)
    inputs = {str(value.name): low.take_image(value, as_bytes=as_bytes) for value in graph.inputs}
    for node in graph:
        rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rule is None:
            raise LoweringError(
                f"{node.op_type} node {node.name}: operator {node.domain or 'ai.onnx'}.{node.op_type} "
                "has no lowering to TFLite; "
                f"there are lowerings for {', '.join(sorted(RULES))}"
            )
        rule(low, node)
    outputs = {str(value.name): low.give(value, as_bytes=as_bytes) for value in graph.outputs}
    return low, inputs, outputs


@lowers("Conv", integer=True)
def _conv(low: Lowering, node: ir.Node) -> None:
    conv.lower(low, node)


@lowers("Pad", integer=True)
def _pad(low: Lowering, node: ir.Node) -> None:
    """A PAD or PADV2, unless the Convs that read it can pad by themselves."""
    if not padding.absorbed(low, node):
        source, amounts = padding.pad_source(low, node), padding.pad_amounts(node)
        low.emit(node, *padding.pad_operator(low, node, source, amounts, padding.pad_fill(node)))


@lowers("LeakyRelu", integer=True)
def _leaky_relu(low: Lowering, node: ir.Node) -> None:
    """LEAKY_RELU; RELU, or two steps, where XNNPACK would not take that."""
    x = low.activation(node)
    found = node.attributes.get("alpha")
    alpha = found.as_float() if found is not None else 0.01
    asked = low.result_quantisation(node)
    if asked is None and alpha == 0:
        low.emit(node, "RELU", [x], low.shape(x), None)
        return
    if asked is None or alpha * low.quantisation(x).scale[0] / asked.scale[0] >= _LEAST_SLOPE:
        low.emit(node, "LEAKY_RELU", [x], low.shape(x), "LeakyRelu", alpha=alpha)
        return
    # The input's own scale holds the result, as no value grows.
    name = f"{node.outputs[0].name}.unscaled"
    own = low.builder.tensor(name, "int8", low.shape(x), quantisation=low.quantisation(x))
    low.builder.operator("LEAKY_RELU", [x], [own], "LeakyRelu", alpha=alpha)
    low.emit(node, "QUANTIZE", [own], low.shape(x), "Quantize")


@lowers("Sigmoid", integer=True)
def _sigmoid(low: Lowering, node: ir.Node) -> None:
    x = low.activation(node)
    asked = low.result_quantisation(node)
    if asked is None or asked.same(_SIGMOID):
        low.emit(node, "LOGISTIC", [x], low.shape(x), None)
        return
    fixed = low.builder.tensor(f"{node.outputs[0].name}.logistic", "int8", low.shape(x), quantisation=_SIGMOID)
    low.builder.operator("LOGISTIC", [x], [fixed])
    low.emit(node, "QUANTIZE", [fixed], low.shape(x), "Quantize")


@lowers("Tanh")
def _tanh(low: Lowering, node: ir.Node) -> None:
    x = low.activation(node)
    low.emit(node, "TANH", [x], low.shape(x), None)


@lowers("Resize", integer=True)
def _resize(low: Lowering, node: ir.Node) -> None:
    """Bilinear, corners aligned or centres at halves; int8 keeps its scale through it."""
    x = low.activation(node)
    quantisation = low.result_quantisation(node)
    if quantisation is not None:
        x = low.requantised(x, quantisation)
    n, h, w, c = low.shape(x)
    height, width = _resized(node, (n, h, w, c))
    modes = {name: str(node.attributes[name].as_string()) for name in _RESIZE if name in node.attributes}
    coordinates = modes.get("coordinate_transformation_mode", "half_pixel")
    if modes.get("mode") != "linear" or coordinates not in ("align_corners", "half_pixel", "asymmetric"):
        raise LoweringError(f"Resize node {node.name}: {modes} has no counterpart in TFLite; use mode linear")
    size = low.integers(f"size.{height}x{width}", [height, width])
    low.emit(
        node,
        "RESIZE_BILINEAR",
        [x, size],
        (n, height, width, c),
        "ResizeBilinear",
        alignCorners=coordinates == "align_corners",
        halfPixelCenters=coordinates == "half_pixel",
    )


_RESIZE = ("mode", "coordinate_transformation_mode")


def _resized(node: ir.Node, shape: Shape) -> tuple[int, int]:
    sizes = quantised.constant(node.inputs[3]) if len(node.inputs) > 3 else None
    scales = quantised.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    n, h, w, c = shape
    if sizes is not None:
        wanted = tuple(int(size) for size in sizes)
    elif scales is not None and scales.size == 4:
        wanted = tuple(int(np.floor(dim * scale)) for dim, scale in zip((n, c, h, w), scales, strict=True))
    else:
        raise LoweringError(f"Resize node {node.name}: its scales are not an initialiser; TFLite needs the size fixed")
    if wanted[:2] != (n, c):
        raise LoweringError(f"Resize node {node.name}: resizes batch or channels, which TFLite does not")
    return wanted[2], wanted[3]


@lowers("Concat", integer=True)
def _concat(low: Lowering, node: ir.Node) -> None:
    parts = [low.activation(node, i) for i in range(len(node.inputs))]
    quantisation = low.result_quantisation(node)
    if quantisation is not None:  # the format wants one scale; operands with another are brought to it
        parts = [low.requantised(part, quantisation) for part in parts]
    rank = len(low.shape(parts[0]))
    axis = node.attributes["axis"].as_int() % rank
    axis = NHWC[axis] if rank == 4 else axis
    while len(parts) > _AT_ONCE:
        parts = [_joined(low, node, parts[i : i + _AT_ONCE], axis, i) for i in range(0, len(parts), _AT_ONCE)]
    low.emit(node, "CONCATENATION", parts, _joint(low, parts, axis), "Concatenation", axis=axis)


def _joint(low: Lowering, parts: list[int], axis: int) -> list[int]:
    shape = list(low.shape(parts[0]))
    shape[axis] = sum(low.shape(part)[axis] for part in parts)
    return shape


def _joined(low: Lowering, node: ir.Node, parts: list[int], axis: int, number: int) -> int:
    """Some of many operands."""
    if len(parts) == 1:
        return parts[0]
    joined = low.intermediate(node, f"part.{number}", _joint(low, parts, axis))
    low.builder.operator("CONCATENATION", parts, [joined], "Concatenation", axis=axis)
    return joined


def _elementwise(op_type: str, code: str, options: str, *, integer: bool) -> None:
    @lowers(op_type, integer=integer)
    def rule(low: Lowering, node: ir.Node) -> None:
        operands = [_operand(low, node, index) for index in (0, 1)]
        shape = np.broadcast_shapes(*(low.shape(operand) for operand in operands))
        low.emit(node, code, operands, shape, options)


_elementwise("Add", "ADD", "Add", integer=True)
_elementwise("Sub", "SUB", "Sub", integer=True)
_elementwise("Mul", "MUL", "Mul", integer=True)
_elementwise("Div", "DIV", "Div", integer=False)


def _operand(low: Lowering, node: ir.Node, index: int) -> int:
    """A computed tensor, or a constant that broadcasts like the one in the graph."""
    value = node.inputs[index]
    array = quantised.constant(value)
    if value is None or array is None:
        return low.activation(node, index)
    name, laid_out = str(value.name), channels_last(array)
    if node not in low.integer:
        return low.builder.constant(name, laid_out.astype(np.float32))
    stored = quantised.codes(value)
    if stored is None:
        largest = float(np.abs(array).max()) or 1.0
        integers = np.rint(array / largest * 127).astype(np.int8)
        stored = quantised.Codes(integers, Quantisation.per_tensor(largest / 127, 0))
    return low.builder.constant(name, channels_last(stored.integers), quantisation=stored.quantisation)


def channels_last(array: np.ndarray) -> np.ndarray:
    """A constant that broadcasts against [N, C, H, W], for [N, H, W, C]; one number stays a scalar."""
    if array.size == 1:
        return array.reshape(())
    full = array.reshape((1,) * (4 - array.ndim) + array.shape)
    return np.ascontiguousarray(full.transpose(0, 2, 3, 1))


@lowers("BatchNormalization")
def _batch_norm(low: Lowering, node: ir.Node) -> None:
    """x * (g / sqrt(v + eps)) + (b - m g / sqrt(v + eps)): a MUL and an ADD."""
    x = low.activation(node)
    parts = [quantised.constant(value) for value in node.inputs[1:]]
    if any(part is None for part in parts):
        raise LoweringError(f"BatchNormalization node {node.name}: its statistics are not initialisers")
    gain, bias, mean, variance = (np.asarray(part, np.float64) for part in parts)
    found = node.attributes.get("epsilon")
    slope = gain / np.sqrt(variance + (found.as_float() if found is not None else 1e-5))
    scaled = low.builder.tensor(f"{node.outputs[0].name}.scaled", "float32", low.shape(x))
    factor = low.builder.constant(f"{node.name}.factor", slope.astype(np.float32))
    low.builder.operator("MUL", [x, factor], [scaled], "Mul")
    offset = low.builder.constant(f"{node.name}.offset", (bias - mean * slope).astype(np.float32))
    low.emit(node, "ADD", [scaled, offset], low.shape(x), "Add")


@lowers(quantised.QUANTISE)
def _quantise(low: Lowering, node: ir.Node) -> None:
    """Nothing behind an integer node, whose result is int8 already; else a QUANTIZE."""
    source, output = node.inputs[0], node.outputs[0]
    if source is None or source.producer() in low.integer or quantised.constant(source) is not None:
        return
    asked = quantised.parameters(node)
    if quantised.is_dequantised(source):
        low.bind(output, low.requantised(low.stored(source), asked))
        return
    tensor = low.tensor(source)
    out = low.builder.tensor(str(output.name), "int8", low.shape(tensor), quantisation=asked)
    low.builder.operator("QUANTIZE", [tensor], [out], "Quantize")
    low.bind(output, out)


@lowers(quantised.DEQUANTISE)
def _dequantise(low: Lowering, node: ir.Node) -> None:
    """Nothing: whoever needs the float form asks for it, and gets one DEQUANTIZE."""
