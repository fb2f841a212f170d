"""OpenVINO IR: the ``.xml`` names every layer, its shapes and its edges."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

from mfs_edge.base.errors import InputError
from mfs_edge.measure.programs import Program, Step, Value, reader

_KINDS = {
    "Convolution": "Conv",
    "GroupConvolution": "Conv",
    "PReLU": "PRelu",
    "Interpolate": "Resize",
    "Subtract": "Sub",
    "Multiply": "Mul",
    "Divide": "Div",
    "Convert": "Cast",
    "BatchNormInference": "BatchNormalization",
    "FakeQuantize": "QuantizeLinear",
}
_SKIPPED = ("Parameter", "Const", "Result")
_BITS = {"FP64": 64, "I64": 64, "U64": 64, "FP16": 16, "BF16": 16, "I16": 16, "U16": 16, "I8": 8, "U8": 8}
_BITS |= {"BOOL": 8, "BOOLEAN": 8, "I4": 4, "U4": 4}


def _port(layer: str | None, port: str | None) -> str:
    return f"{layer}:{port}"


def _values(layers: list[ET.Element]) -> dict[str, Value]:
    found = {}
    for layer in layers:
        for port in layer.findall("output/port"):
            dtype = port.get("precision", "FP32")
            bits = 8 if _is_int8(layer) else _BITS.get(dtype, 32)
            dims = [int(dim.text or -1) for dim in port.findall("dim")]
            shape = tuple(dims) if all(size >= 0 for size in dims) else None
            constant = layer.get("type") == "Const"
            found[_port(layer.get("id"), port.get("id"))] = Value(shape, dtype, bits, constant)
    return found


def _is_int8(layer: ET.Element) -> bool:
    """The file calls a FakeQuantize's output a float; what a runtime keeps is the level."""
    data = layer.find("data")
    return layer.get("type") == "FakeQuantize" and data is not None and int(data.get("levels", "65536")) <= 256


@reader(".xml")
def read(path: Path) -> Program:
    root = ET.parse(path).getroot()
    if root.tag != "net":
        raise InputError(f"{path}: is XML, but not an OpenVINO model; give the .xml of one")
    layers = root.findall("layers/layer")
    values = _values(layers)
    sources = {
        (edge.get("to-layer"), edge.get("to-port")): _port(edge.get("from-layer"), edge.get("from-port"))
        for edge in root.findall("edges/edge")
    }
    steps = []
    kinds: dict[str, str] = {}
    for layer in layers:
        if layer.get("type") not in _SKIPPED:
            step = _step(layer, sources, values, kinds)
            kinds |= dict.fromkeys(step.outputs, step.kind)
            steps.append(step)
    ends = {kind: [layer for layer in layers if layer.get("type") == kind] for kind in ("Parameter", "Result")}
    inputs = tuple(_port(layer.get("id"), "0") for layer in ends["Parameter"])
    outputs = tuple(sources[layer.get("id"), "0"] for layer in ends["Result"])
    return Program(tuple(steps), values, inputs, outputs)


def _step(
    layer: ET.Element,
    sources: dict[tuple[str | None, str | None], str],
    values: dict[str, Value],
    kinds: dict[str, str],
) -> Step:
    own = layer.get("type", "?")
    inputs = tuple(sources[layer.get("id"), port.get("id")] for port in layer.findall("input/port"))
    outputs = tuple(_port(layer.get("id"), port.get("id")) for port in layer.findall("output/port"))
    data = layer.find("data")
    shapes = [[dim.text for dim in port.findall("dim")] for port in layer.findall("input/port")]
    return Step(
        own=own,
        kind=_kind(own, inputs, values, kinds),
        inputs=inputs,
        outputs=outputs,
        attributes=json.dumps(sorted(data.attrib.items()) if data is not None else []),
        multiplies=_multiplies(own, shapes),
    )


def _kind(own: str, inputs: tuple[str, ...], values: dict[str, Value], kinds: dict[str, str]) -> str:
    """ONNX's name. An Add of a constant behind a convolution is its bias, which costs nothing there."""
    if own == "Add" and kinds.get(inputs[0]) == "Conv" and values[inputs[1]].constant:
        return "Bias"
    return _KINDS.get(own, own)


def _multiplies(own: str, shapes: list[list[str | None]]) -> int:
    skipped = {"Convolution": 1, "GroupConvolution": 2}.get(own)  # [out, in, ...] or [group, out, in, ...]
    if skipped is not None:
        return math.prod(int(size or 0) for size in shapes[1][skipped:])
    return int(shapes[0][-1] or 0) if own == "MatMul" else 0
