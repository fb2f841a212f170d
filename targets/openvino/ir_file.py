"""What an IR's XML says, and whether its weights file is the one it was written with.

OpenVINO maps the ``.bin`` and looks at it late: it notices a file that is too short, but
loads one with changed or foreign bytes. So the XML carries the weights' SHA-256.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from mfs_edge.base import files
from mfs_edge.base.errors import InputError
from mfs_edge.target import Description, Tensor

SECTION = "mfs_edge"  # of rt_info
WEIGHTS_SHA256 = "weights_sha256"
AGAIN = "compile it again, or copy both files"

_DTYPES = {"f32": "float32", "f16": "float16", "u8": "uint8", "i8": "int8"}
# What the file format needs around the operators proper.
_PLUMBING = ("Parameter", "Result", "Const")


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


def describe(path: Path) -> Description:
    """Inputs, outputs, operators and metadata.

    Raises:
        InputError: either file is damaged.
    """
    root = parse(path)
    check_weights(path, root)
    layers = root.findall("layers/layer")
    kinds = Counter(layer.get("type", "?") for layer in layers if layer.get("type") not in _PLUMBING)
    entries = metadata(root)
    inputs = tuple(_input(layer) for layer in layers if layer.get("type") == "Parameter")
    layout = inputs[0].layout if inputs else "NCHW"  # an IR stores none for its outputs
    runtime = root.find("rt_info/info[@name='OpenVINO Runtime']")
    return Description(
        format=f"OpenVINO IR {root.get('version', '?')}",
        inputs=inputs,
        outputs=tuple(_output(layer, root, layout) for layer in layers if layer.get("type") == "Result"),
        operators=dict(kinds.most_common()),
        metadata={key: value for key, value in entries.items() if key != WEIGHTS_SHA256},
        details={
            "weights": path.with_suffix(".bin").name,
            "constants": sum(layer.get("type") == "Const" for layer in layers),
            "written by OpenVINO": runtime.get("value", "?") if runtime is not None else "?",
        },
    )


def _input(layer: ET.Element) -> Tensor:
    port, data = layer.find("output/port"), layer.find("data")
    attribute = layer.find(".//rt_info/attribute[@name='layout']")
    layout = attribute.get("layout", "").strip("[]").replace(",", "") if attribute is not None else "NCHW"
    dtype = data.get("element_type", "?") if data is not None else "?"
    return _tensor(_port_name(port, layer), dtype, port, layout)


def _output(layer: ET.Element, root: ET.Element, layout: str) -> Tensor:
    """A Result has no name or type of its own; the port that feeds it has them."""
    port = None
    edge = root.find(f"edges/edge[@to-layer='{layer.get('id')}']")
    if edge is not None:
        source, port_id = edge.get("from-layer"), edge.get("from-port")
        port = root.find(f"layers/layer[@id='{source}']/output/port[@id='{port_id}']")
    precision = port.get("precision", "?").lower() if port is not None else "?"
    dtype = {"fp32": "f32", "fp16": "f16"}.get(precision, precision)
    return _tensor(_port_name(port, layer), dtype, port, layout)


def _port_name(port: ET.Element | None, layer: ET.Element) -> str:
    names = port.get("names") if port is not None else None
    return names.split(",")[0] if names else layer.get("name", "?")


def _tensor(name: str, dtype: str, port: ET.Element | None, layout: str) -> Tensor:
    shape = tuple(int(dim.text or -1) for dim in port.iterfind("dim")) if port is not None else ()
    limits = "0..255" if dtype == "u8" else "0..1"
    return Tensor(name=name, dtype=_DTYPES.get(dtype, dtype), shape=shape, layout=layout, range=limits)
