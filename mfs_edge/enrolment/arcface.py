"""ArcFace as nodes: see ``mfs_edge.networks.arcface``, which it follows line by line."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mfs_edge.enrolment.layers import Layers, Tensors, affine
from mfs_edge.networks import spec

NORM_EPS = 1e-24  # torch divides by no less than 1e-12


def identity(net: Layers, tensors: Tensors, crop: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Embedding [1, 512, 1, 1], of length 1, and feature map [1, 512, 7, 7] of a crop [1, 3, 224, 224] in 0..1."""
    x = net.leaky("prelu", _stem(net, tensors, crop), tensors["prelu.weight"])
    x = net.op("maxpool", "MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    for layer, (blocks, stride) in enumerate(zip(spec.ARCFACE_LAYERS, spec.ARCFACE_STRIDES, strict=True), start=1):
        for block in range(blocks):
            x = _block(net, tensors, f"layer{layer}.{block}", x, stride=stride if block == 0 else 1)
    feature_map = net.norm("feature_map", x, tensors, "bn2")
    return _head(net, tensors, feature_map), feature_map


def _stem(net: Layers, tensors: Tensors, crop: ir.Value) -> ir.Value:
    """Halving, normalisation, the first convolution and its norm, as one convolution of 6x6, stride 2.

    The crop at half size is the mean of 2x2 pixels (``face.crop.reduced``); none of it is padded, so
    that all of it is linear and the same everywhere.
    """
    mean, std = (np.array(values, np.float64) for values in (spec.IMAGE_MEAN, spec.IMAGE_STD))
    scale, shift = affine(tensors, "bn1")
    weight = tensors["conv1.weight"] / std[None, :, None, None] * scale[:, None, None, None]
    bias = shift - (weight * mean[None, :, None, None]).sum(axis=(1, 2, 3))
    spread = np.repeat(np.repeat(weight / 4, 2, axis=2), 2, axis=3)
    return net.conv("conv1", crop, spread, bias, stride=2)


def _block(net: Layers, tensors: Tensors, name: str, x: ir.Value, *, stride: int) -> ir.Value:
    slope = tensors[f"{name}.prelu.weight"]
    y = net.norm(f"{name}.bn0", x, tensors, f"{name}.bn0")
    y = net.normalised(f"{name}.conv1", y, tensors, f"{name}.conv1", f"{name}.bn1", pad=1)
    y = net.leaky(f"{name}.prelu", y, slope)
    y = net.normalised(f"{name}.conv2", y, tensors, f"{name}.conv2", f"{name}.bn2", stride=stride, pad=1)
    y = _squeeze_excite(net, tensors, f"{name}.se", y)
    if f"{name}.downsample.0.weight" in tensors:
        shortcut = f"{name}.downsample"
        x = net.normalised(shortcut, x, tensors, f"{shortcut}.0", f"{shortcut}.1", stride=stride)
    return net.leaky(name, net.op(f"{name}.sum", "Add", y, x), slope)


def _squeeze_excite(net: Layers, tensors: Tensors, name: str, y: ir.Value) -> ir.Value:
    gate = net.op(f"{name}.mean", "GlobalAveragePool", y)
    gate = net.leaky(f"{name}.prelu", _linear(net, tensors, f"{name}.fc.0", gate), tensors[f"{name}.fc.1.weight"])
    gate = net.op(f"{name}.gate", "Sigmoid", _linear(net, tensors, f"{name}.fc.2", gate))
    return net.op(name, "Mul", y, gate)


def _linear(net: Layers, tensors: Tensors, key: str, x: ir.Value) -> ir.Value:
    return net.conv(key, x, tensors[f"{key}.weight"][:, :, None, None], tensors[f"{key}.bias"])


def _head(net: Layers, tensors: Tensors, feature_map: ir.Value) -> ir.Value:
    """``fc`` and its norm as a convolution over all of the map, brought to length 1."""
    weight = tensors["fc.weight"].reshape(spec.EMBEDDING, *spec.FEATURE_MAP)
    x = net.normalised("fc", feature_map, {**tensors, "fc.weight": weight}, "fc", "bn3")
    energy = net.op("embedding.square", "Mul", x, x)
    ones = np.ones((1, spec.EMBEDDING, 1, 1), np.float32)
    energy = net.conv("embedding.energy", energy, ones, np.array([NORM_EPS]))
    return net.op("embedding", "Div", x, net.op("embedding.norm", "Sqrt", energy))
