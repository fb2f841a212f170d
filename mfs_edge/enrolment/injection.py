"""The IIN and the fold as nodes: an identity -> the weights that are its own, in the identity-local form.

See ``mfs_edge.networks.iin`` and ``FoldedIDN``. No pointwise weight is here: only what their
demodulations need of them, their squares.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx_ir as ir

from mfs_edge.enrolment.layers import Layers, Tensors
from mfs_edge.networks import spec

UNITS = (2.0**-40, 2.0**20)  # of pointwise weights, where they are brought near 1
MASK, TAIL = "mask.0.1.weight", "final.1.weight"


def local_tensors(net: Layers, tensors: Tensors, embedding: ir.Value, feature_map: ir.Value) -> dict[str, ir.Value]:
    """The identity's tensors by official key.

    Args:
        net: collects the nodes.
        tensors: the MobileFaceSwap checkpoint's.
        embedding: [1, 512, 1, 1], of length 1.
        feature_map: [1, 512, 7, 7].

    Returns:
        Depthwise kernels as [1, C, k, k], and ``final.1.weight`` as it is, [8, 32, 1, 1].
    """
    kernels = _kernels(net, tensors, feature_map)
    names = _stages()
    gains = {name: _gain(net, tensors, name, embedding) for name in names}
    demodulations = {name: _demodulation(net, tensors, name, gains[name]) for name in names}
    found = {}
    for name, incoming in _incoming(net, demodulations).items():
        x = net.op(f"{name}.gained", "Mul", kernels[name], gains[name])
        found[f"{name}.0.weight"] = x if incoming is None else net.op(f"{name}.local", "Mul", x, incoming)
    heads = {MASK: (tensors[MASK].transpose(1, 0, 2, 3), "Encoder.4"), TAIL: (tensors[TAIL], "Decoder.3")}
    for key, (weight, stage) in heads.items():
        found[key] = net.op(f"{key}.local", "Mul", net.constant(f"{key}.shared", weight), demodulations[stage])
    return found


def _stages() -> list[str]:
    encoder = [f"Encoder.{i}" for i in range(len(spec.ENCODER_CHANNELS) - 1)]
    return encoder + [f"Decoder.{i}" for i in range(len(spec.DECODER_OUT))]


def _kernels(net: Layers, tensors: Tensors, feature_map: ir.Value) -> dict[str, ir.Value]:
    """Weights prediction: a depthwise kernel [1, C, k, k] for each stage."""
    z = _read(net, tensors, "predictor.first", "predictor.norm", feature_map)
    encoder = _branch(net, tensors, "predictor.encoder", len(spec.PREDICTOR_ENCODER) - 1, z)[::-1]
    z = _read(net, tensors, "predictor.first_decoder", "predictor.decoder_norm", z)
    decoder = _branch(net, tensors, "predictor.decoder", len(spec.PREDICTOR_DECODER) - 1, z)
    return dict(zip(_stages(), encoder + decoder, strict=True))


def _read(net: Layers, tensors: Tensors, conv: str, norm: str, x: ir.Value, *, pad: int = 0) -> ir.Value:
    return net.leaky(f"{conv}.leaky", net.normalised(conv, x, tensors, conv, norm, pad=pad), spec.LEAKY_SLOPE)


def _branch(net: Layers, tensors: Tensors, name: str, blocks: int, x: ir.Value) -> list[ir.Value]:
    kernels = []
    for block in (f"{name}.{i}" for i in range(blocks)):
        x = _read(net, tensors, f"{block}.conv", f"{block}.norm", x, pad=1)
        weight, bias = tensors[f"{block}.weight.weight"], tensors[f"{block}.weight.bias"]
        kernels.append(net.conv(f"{block}.weight", x, weight, bias, pad=1))
    return kernels


def _modulation(name: str) -> str:
    return name.replace(".", "Modulation.")


def _gain(net: Layers, tensors: Tensors, name: str, embedding: ir.Value) -> ir.Value:
    """1 + s, [1, I, 1, 1]."""
    style = f"{_modulation(name)}.style"
    weight, bias = tensors[f"{style}.weight"], tensors[f"{style}.bias"].astype(np.float64)
    return net.conv(style, embedding, weight[:, :, None, None], 1 + bias)


def _demodulation(net: Layers, tensors: Tensors, name: str, gain: ir.Value) -> ir.Value:
    """1 / sqrt(sum of (W gain)^2 + eps), [1, O, 1, 1].

    Squares of small weights would be lost in half precision, so each output channel's are brought
    near 1 by a power of four, whose root the numerator takes back. So are they in float32, where
    whatever is left of an idle channel must not become infinite.
    """
    key = _modulation(name)
    weight = tensors[f"{key}.weight"].astype(np.float64)
    largest = np.abs(weight).max(axis=(1, 2, 3)).clip(*UNITS)
    unit = 2.0 ** np.ceil(np.log2(largest))
    squares = np.square(weight / unit[:, None, None, None])
    square = net.op(f"{name}.gain.square", "Mul", gain, gain)
    energy = net.conv(f"{name}.energy", square, squares, spec.DEMODULATION_EPS / unit**2)
    root = net.op(f"{name}.energy.root", "Sqrt", energy)
    numerator = net.constant(f"{name}.unit", (1 / unit)[None, :, None, None])
    return net.op(f"{name}.demodulation", "Div", numerator, root)


def _incoming(net: Layers, demodulations: dict[str, ir.Value]) -> dict[str, ir.Value | None]:
    """Per stage, what the demodulations left out upstream scale its input channels by; none for the image."""
    encoder = [f"Encoder.{i}" for i in range(len(spec.ENCODER_CHANNELS) - 1)]
    found: dict[str, ir.Value | None] = {encoder[0]: None}
    for before, stage in pairwise(encoder):
        found[stage] = demodulations[before]
    incoming = demodulations[encoder[-1]]
    for i, skip in enumerate(spec.DECODER_SKIP):
        found[f"Decoder.{i}"] = incoming
        incoming = demodulations[f"Decoder.{i}"]
        if skip is not None:
            incoming = net.op(f"Decoder.{i}.joined", "Concat", incoming, demodulations[encoder[skip]], axis=1)
    return found
