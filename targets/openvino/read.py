"""What an OpenVINO IR holds: the ``.xml`` names every layer, its shapes and its edges.

OpenVINO maps the ``.bin`` and looks at it late: it notices a file that is too short, but
loads one with changed or foreign bytes. So the XML carries the weights' SHA-256.
"""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from mfs_edge.base import files
from mfs_edge.base.errors import InputError
from mfs_edge.program import IntegerTensor, Program, Step, Tensor, Value

SECTION = "mfs_edge"  # of rt_info
WEIGHTS_SHA256 = "weights_sha256"
AGAIN = "compile it again, or copy both files"
KINDS = {
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
# What the file format needs around the operators proper.
PLUMBING = ("Parameter", "Const", "Result")
_BITS = {"FP64": 64, "I64": 64, "U64": 64, "FP16": 16, "BF16": 16, "I16": 16, "U16": 16, "I8": 8, "U8": 8}
_BITS |= {"BOOL": 8, "BOOLEAN": 8, "I4": 4, "U4": 4}
_DTYPES = {"f32": "float32", "fp32": "float32", "f16": "float16", "fp16": "float16", "u8": "uint8", "i8": "int8"}
_LEVELS = 255


def read(path: Path) -> Program:
    """The network in ``path``, whose weights must be the ones it was written with.

    Raises:
        InputError: either file is missing or damaged, or it is no OpenVINO IR.
    """
    root = parse(path)
    check_weights(path, root)
    try:
        return _Network(path, root).program()
    except (KeyError, ValueError, IndexError, TypeError) as error:  # whatever damage looks like
        raise InputError(f"{path}: is damaged ({type(error).__name__}: {error}); {AGAIN}") from error


def parse(path: Path) -> ET.Element:
    """The XML's root.

    Raises:
        InputError: missing, damaged, or no OpenVINO IR.
    """
    files.require_file(path, "artefact")
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is damaged ({error}); {AGAIN}") from error
    if root.tag != "net" or root.find("layers") is None or root.find("edges") is None:
        raise InputError(f"{path}: is XML, but not an OpenVINO model; give the .xml that mfs-edge wrote")
    return root


def metadata(root: ET.Element) -> dict[str, str]:
    """What mfs-edge wrote into the file."""
    section = root.find(f"rt_info/{SECTION}")
    return {entry.tag: entry.get("value", "") for entry in section} if section is not None else {}


def check_weights(path: Path, root: ET.Element) -> None:
    """Compare the ``.bin`` beside ``path`` with what the XML expects.

    Raises:
        InputError: it is missing, too short, or not the one written with this XML.
    """
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise InputError(f"{weights}: is missing; {path.name} keeps its weights there: {AGAIN}")
    needed, size = _extent(path, root), weights.stat().st_size
    if size < needed:
        raise InputError(f"{weights}: is truncated ({size} of {needed} bytes); {AGAIN}")
    expected = metadata(root).get(WEIGHTS_SHA256)
    if expected is not None and files.sha256(weights) != expected:
        raise InputError(f"{weights}: is damaged, or belongs to another model than {path.name}; {AGAIN}")


def _extent(path: Path, root: ET.Element) -> int:
    """The bytes of weights that the constants reach."""
    try:
        return max(
            (
                int(data.get("offset", 0)) + int(data.get("size", 0))
                for data in root.iterfind("layers/layer/data[@offset]")
            ),
            default=0,
        )
    except ValueError as error:
        raise InputError(f"{path}: is damaged ({error}); {AGAIN}") from error


@dataclass
class _Network:
    path: Path
    root: ET.Element
    layers: list[ET.Element] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    sources: dict[tuple[str | None, str | None], str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)  # of the steps so far, per output

    def program(self) -> Program:
        self.layers = self.root.findall("layers/layer")
        self.values = dict(self._values())
        self.sources = {
            (edge.get("to-layer"), edge.get("to-port")): _port(edge.get("from-layer"), edge.get("from-port"))
            for edge in self.root.findall("edges/edge")
        }
        steps = tuple(self._step(layer) for layer in self.layers if layer.get("type") not in PLUMBING)
        parameters, results = ([x for x in self.layers if x.get("type") == kind] for kind in ("Parameter", "Result"))
        takes = tuple(_input(layer) for layer in parameters)
        layout = takes[0].layout if takes else "NCHW"  # an IR stores none for its outputs
        return Program(
            format=f"OpenVINO IR {self.root.get('version', '?')}",
            steps=steps,
            values=self.values,
            inputs=tuple(_port(layer.get("id"), "0") for layer in parameters),
            outputs=tuple(self.sources[layer.get("id"), "0"] for layer in results),
            takes=takes,
            gives=tuple(self._output(layer, layout) for layer in results),
            metadata={k: v for k, v in metadata(self.root).items() if k != WEIGHTS_SHA256},
            details=self._details(),
            quantised=lambda: list(self._integers()),
        )

    def _details(self) -> dict[str, object]:
        runtime = self.root.find("rt_info/info[@name='OpenVINO Runtime']")
        return {
            "weights": self.path.with_suffix(".bin").name,
            "constants": sum(layer.get("type") == "Const" for layer in self.layers),
            "written by OpenVINO": runtime.get("value", "?") if runtime is not None else "?",
        }

    def _values(self) -> Iterator[tuple[str, Value]]:
        for layer in self.layers:
            for port in layer.findall("output/port"):
                dtype = port.get("precision", "FP32")
                bits = 8 if _is_int8(layer) else _BITS.get(dtype, 32)
                dims = [int(dim.text or -1) for dim in port.findall("dim")]
                shape = tuple(dims) if all(size >= 0 for size in dims) else None
                yield _port(layer.get("id"), port.get("id")), Value(shape, dtype, bits, layer.get("type") == "Const")

    def _step(self, layer: ET.Element) -> Step:
        own = layer.get("type", "?")
        inputs = tuple(self.sources[layer.get("id"), port.get("id")] for port in layer.findall("input/port"))
        outputs = tuple(_port(layer.get("id"), port.get("id")) for port in layer.findall("output/port"))
        data = layer.find("data")
        kind = self._kind(own, inputs)
        self.kinds |= dict.fromkeys(outputs, kind)
        return Step(
            own=own,
            kind=kind,
            inputs=inputs,
            outputs=outputs,
            name=layer.get("name", ""),
            attributes=json.dumps(sorted(data.attrib.items()) if data is not None else []),
            multiplies=_multiplies(own, layer),
        )

    def _kind(self, own: str, inputs: tuple[str, ...]) -> str:
        """ONNX's name. An Add of a constant behind a convolution is its bias, which costs nothing there."""
        if own == "Add" and self.kinds.get(inputs[0]) == "Conv" and self.values[inputs[1]].constant:
            return "Bias"
        return KINDS.get(own, own)

    def _integers(self) -> Iterator[IntegerTensor]:
        """Every FakeQuantize, and every int8 constant, in execution order."""
        for layer in self.layers:
            if layer.get("type") == "FakeQuantize":
                limits = [self._constant(layer, port) for port in (3, 4)]
                if None in limits:  # computed: the file holds no scale of it
                    continue
                low, high = (float(self._array(limit).ravel()[0]) for limit in limits if limit is not None)
                scale = (high - low) / _LEVELS
                zero_point = int(np.rint(np.iinfo(np.int8).min - low / scale))
                yield IntegerTensor.activation(
                    str(layer.get("name")).removesuffix(".restored"), "int8", scale, zero_point
                )
            elif layer.get("type") == "Multiply":
                yield from self._weight(layer)

    def _weight(self, multiply: ET.Element) -> Iterator[IntegerTensor]:
        """A product of a converted int8 constant; nothing for any other product."""
        convert = self._source(multiply, 0)
        stored = self._source(convert, 0) if convert.get("type") == "Convert" else None
        factor = self._constant(multiply, 1)
        if stored is not None and factor is not None and stored.find("data[@element_type='i8']") is not None:
            codes, scale = self._array(stored), self._array(factor)
            channels = codes.reshape(scale.size, -1)  # a grouped convolution has two leading axes
            yield IntegerTensor.constant(str(multiply.get("name")), channels, scale.astype(np.float64))

    def _source(self, layer: ET.Element, port: int) -> ET.Element:
        """What feeds a layer."""
        source = self.sources[layer.get("id"), str(port)].partition(":")[0]
        return self._by_id[source]

    def _constant(self, layer: ET.Element, port: int) -> ET.Element | None:
        """The constant that feeds a layer, also through conversions of its type; None if it is computed."""
        found = self._source(layer, port)
        for _ in self.layers:
            if found.get("type") != "Convert":
                break
            found = self._source(found, 0)
        return found if found.get("type") == "Const" else None

    @cached_property
    def _by_id(self) -> dict[str | None, ET.Element]:
        return {layer.get("id"): layer for layer in self.layers}

    def _array(self, constant: ET.Element) -> np.ndarray:
        data = constant.find("data")
        entries = {} if data is None else data.attrib
        start, size = int(entries.get("offset", 0)), int(entries.get("size", 0))
        shape = [int(extent) for extent in entries.get("shape", "").split(",") if extent]
        weights = np.memmap(self.path.with_suffix(".bin"), np.uint8, "r")
        return np.frombuffer(weights[start : start + size], _DTYPES[entries["element_type"]]).reshape(shape)

    def _output(self, layer: ET.Element, layout: str) -> Tensor:
        """A Result has no name or type of its own; the port that feeds it has them."""
        source, _, port_id = self.sources[layer.get("id"), "0"].partition(":")
        ports = self._by_id[source].findall("output/port")
        port = next((port for port in ports if port.get("id") == port_id), None)
        precision = port.get("precision", "?").lower() if port is not None else "?"
        return _tensor(_port_name(port, layer), precision, port, layout)


def _port(layer: str | None, port: str | None) -> str:
    return f"{layer}:{port}"


def _is_int8(layer: ET.Element) -> bool:
    """The file calls a FakeQuantize's output a float; what a runtime keeps is the level."""
    data = layer.find("data")
    return layer.get("type") == "FakeQuantize" and data is not None and int(data.get("levels", "65536")) <= 256


def _multiplies(own: str, layer: ET.Element) -> int:
    shapes = [[int(dim.text or 0) for dim in port.findall("dim")] for port in layer.findall("input/port")]
    skipped = {"Convolution": 1, "GroupConvolution": 2}.get(own)  # [out, in, ...] or [group, out, in, ...]
    if skipped is not None:
        return math.prod(shapes[1][skipped:])
    return shapes[0][-1] if own == "MatMul" and shapes[0] else 0


def _input(layer: ET.Element) -> Tensor:
    port, data = layer.find("output/port"), layer.find("data")
    attribute = layer.find(".//rt_info/attribute[@name='layout']")
    layout = attribute.get("layout", "").strip("[]").replace(",", "") if attribute is not None else "NCHW"
    dtype = data.get("element_type", "?") if data is not None else "?"
    return _tensor(_port_name(port, layer), dtype, port, layout)


def _port_name(port: ET.Element | None, layer: ET.Element) -> str:
    names = port.get("names") if port is not None else None
    return names.split(",")[0] if names else layer.get("name", "?")


def _tensor(name: str, dtype: str, port: ET.Element | None, layout: str) -> Tensor:
    shape = tuple(int(dim.text or -1) for dim in port.iterfind("dim")) if port is not None else ()
    limits = "0..255" if dtype == "u8" else "0..1"
    return Tensor(name=name, dtype=_DTYPES.get(dtype, dtype), shape=shape, layout=layout, range=limits)
