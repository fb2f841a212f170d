"""An independent reading of the graph: every operator in torch, in the precision asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

Operator = Callable[..., Tensor]
OPERATORS: dict[str, Operator] = {}


def operator(name: str) -> Callable[[Operator], Operator]:
    def register(function: Operator) -> Operator:
        OPERATORS[name] = function
        return function

    return register


def evaluate(model: ir.Model, image: np.ndarray, *, half: bool = False) -> dict[str, np.ndarray]:
    """Every tensor of ``model`` for ``image``.

    Args:
        model: any float graph of ours.
        image: [1, 3, S, S] in 0..1.
        half: round every weight, the image and every operator's result to float16, with
            float32 accumulation inside an operator, as half-precision hardware does. If
            False, everything is float64.
    """

    def load(array: np.ndarray) -> Tensor:
        if not np.issubdtype(array.dtype, np.floating):
            return torch.from_numpy(array.copy())
        return _half(torch.from_numpy(array.astype(np.float32))) if half else torch.from_numpy(array.astype(np.float64))

    graph = model.graph
    values: dict[ir.Value | None, Tensor | None] = {None: None, graph.inputs[0]: load(image)}
    values |= {value: load(value.const_value.numpy()) for value in graph.initializers.values()}
    for node in graph:
        attributes = {name: attribute.value for name, attribute in node.attributes.items()}
        result = OPERATORS[node.op_type](*(values[value] for value in node.inputs), **attributes)
        values[node.outputs[0]] = _half(result) if half else result
    return {value.name: values[value].double().numpy() for node in graph for value in node.outputs}


def _half(x: Tensor) -> Tensor:
    return x.half().float()


@operator("Conv")
def conv(x, w, b=None, *, strides=(1, 1), pads=(0, 0, 0, 0), group=1, kernel_shape=None):
    top, left, bottom, right = pads
    assert list(kernel_shape) == list(w.shape[2:])
    return F.conv2d(F.pad(x, (left, right, top, bottom)), w, b, stride=tuple(strides), groups=group)


@operator("BatchNormalization")
def batch_normalization(x, gamma, beta, mean, variance, *, epsilon=1e-5):
    scale, shift, mean, variance = (v[:, None, None] for v in (gamma, beta, mean, variance))
    return (x - mean) / torch.sqrt(variance + epsilon) * scale + shift


@operator("LeakyRelu")
def leaky_relu(x, *, alpha=0.01):
    return torch.where(x < 0, x * alpha, x)


@operator("Resize")
def resize(x, roi, scales, *, mode, coordinate_transformation_mode):
    assert roi is None
    assert (mode, coordinate_transformation_mode) == ("linear", "align_corners")
    size = [round(n * s) for n, s in zip(x.shape[2:], scales.tolist()[2:], strict=True)]
    rows, columns = (_interpolation(n, m, x.dtype) for n, m in zip(x.shape[2:], size, strict=True))
    return rows @ x @ columns.T


def _interpolation(inner: int, outer: int, dtype: torch.dtype) -> Tensor:
    """[outer, inner]: output sample o is at o (inner - 1) / (outer - 1)."""
    position = torch.arange(outer, dtype=torch.float64) * (inner - 1) / max(outer - 1, 1)
    weights = (1 - (position[:, None] - torch.arange(inner)).abs()).clamp(min=0)
    return weights.to(dtype)


@operator("Pad")
def pad(x, pads, value, *, mode):
    assert mode == "constant"
    _, _, top, left, _, _, bottom, right = pads.tolist()
    return F.pad(x, (left, right, top, bottom), value=value.item())


@operator("Concat")
def concat(*parts, axis):
    return torch.cat(parts, dim=axis)


for _name, _function in {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
    "Tanh": torch.tanh,
    "Sigmoid": torch.sigmoid,
}.items():
    operator(_name)(_function)
