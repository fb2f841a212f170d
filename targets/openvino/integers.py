"""The quantised tensors of an IR, from its XML and weights file alone."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mfs_edge.program import IntegerTensor

from . import ir_file

_DTYPES = {"i8": np.int8, "f32": np.float32}
_LEVELS = 255


class _Layers:
    """The layers, what feeds them, and what their constants hold."""

    def __init__(self, path: Path) -> None:
        root = ir_file.parse(path)
        ir_file.check_weights(path, root)
        self.all = root.findall("layers/layer")
        self.by_id = {layer.get("id"): layer for layer in self.all}
        self.feeds = {
            (edge.get("to-layer"), edge.get("to-port")): edge.get("from-layer") for edge in root.iterfind("edges/edge")
        }
        self.weights = np.memmap(path.with_suffix(".bin"), np.uint8, "r")

    def source(self, layer: ET.Element, port: int) -> ET.Element:
        return self.by_id[self.feeds[layer.get("id"), str(port)]]

    def array(self, constant: ET.Element) -> np.ndarray:
        data = constant.find("data")
        entries = {} if data is None else data.attrib
        start, size = int(entries.get("offset", 0)), int(entries.get("size", 0))
        shape = [int(extent) for extent in entries.get("shape", "").split(",") if extent]
        return np.frombuffer(self.weights[start : start + size], _DTYPES[entries["element_type"]]).reshape(shape)


def read(path: Path) -> list[IntegerTensor]:
    """Every FakeQuantize, and every int8 constant, in execution order.

    Raises:
        InputError: either file is damaged.
    """
    layers = _Layers(path)
    found: list[IntegerTensor] = []
    for layer in layers.all:
        if layer.get("type") == "FakeQuantize":
            found.append(_activation(layers, layer))
        elif layer.get("type") == "Multiply":
            found += _weight(layers, layer)
    return found


def _activation(layers: _Layers, layer: ET.Element) -> IntegerTensor:
    low, high = (float(layers.array(layers.source(layer, port)).ravel()[0]) for port in (3, 4))
    scale = (high - low) / _LEVELS
    zero_point = int(np.rint(np.iinfo(np.int8).min - low / scale))
    name = str(layer.get("name")).removesuffix(".restored")
    return IntegerTensor.activation(name, "int8", scale, zero_point)


def _weight(layers: _Layers, multiply: ET.Element) -> Iterator[IntegerTensor]:
    """A product of a converted int8 constant; nothing for any other product."""
    convert = layers.source(multiply, 0)
    stored = layers.source(convert, 0) if convert.get("type") == "Convert" else None
    data = stored.find("data") if stored is not None else None
    if stored is not None and data is not None and data.get("element_type") == "i8":
        codes, scale = layers.array(stored), layers.array(layers.source(multiply, 1))
        channels = codes.reshape(scale.size, -1)  # a grouped convolution has two leading axes
        yield IntegerTensor.constant(str(multiply.get("name")), channels, scale.astype(np.float64))
