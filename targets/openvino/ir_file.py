"""What an IR's XML says, and whether its weights file is the one it was written with.

OpenVINO maps the ``.bin`` and looks at it late: it notices a file that is too short, but
loads one with changed or foreign bytes. So the XML carries the weights' SHA-256.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from mfs_edge.base import files
from mfs_edge.base.errors import InputError

SECTION = "mfs_edge"  # of rt_info
WEIGHTS_SHA256 = "weights_sha256"
AGAIN = "compile it again, or copy both files"


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
