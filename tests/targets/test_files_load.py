"""What every written file owes to runtimes, old ones too: names that are unique, and no warning when it is loaded."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import onnx
import pytest
from mfs_edge.targets.tflite import reader

from mfs_edge import target
from mfs_edge.base.protobuf import Message
from mfs_edge.target import EmitOptions
from tests.targets.integers import Graphs

LOAD = (
    "import sys; from mfs_edge import target; from pathlib import Path; target.get(sys.argv[1]).load(Path(sys.argv[2]))"
)
WRITTEN = [
    (name, precision, io)
    for name in ("onnx", "openvino", "tflite", "coreml")
    for precision in ("fp32", "int8", "int8-mixed")
    for io in ("float32", "uint8")
]


def written(folder: Path, graphs: Graphs, name: str, precision: str, io: str) -> Path:
    kind = target.get(name)
    path = folder / f"idn{kind.suffix}"
    kind.emit(graphs(precision), path, EmitOptions(precision, io))
    return path


def names(path: Path) -> list[str]:
    """Of all tensors, operators or layers: what a runtime looks up by name."""
    if path.suffix == ".onnx":
        graph = onnx.load(path).graph
        stored = [tensor.name for tensor in graph.initializer]
        return [
            *stored,
            *(name for node in graph.node for name in node.output),
            *(f"node {n.name}" for n in graph.node),
        ]
    if path.suffix == ".tflite":
        return [tensor.name for tensor in reader.read(path.read_bytes()).tensors]
    if path.suffix == ".xml":
        return [layer.get("name", "") for layer in ET.parse(path).iter("layer")]
    from mfs_edge.targets.coreml import read

    function = Message((path / read.MODEL).read_bytes()).message(502).mapping(2)["main"]
    block = function.mapping(3)[function.text(2)]
    return [output.text(1) for operation in block.messages(3) for output in operation.messages(3)]


@pytest.mark.parametrize(("name", "precision", "io"), WRITTEN)
def test_names_are_unique(tmp_path: Path, integers: Graphs, name: str, precision: str, io: str) -> None:
    counted = Counter(names(written(tmp_path, integers, name, precision, io)))
    assert len(counted) > 50
    assert not [name for name, times in counted.items() if times > 1]


@pytest.mark.parametrize(("name", "precision", "io"), [case for case in WRITTEN if case[0] != "coreml"])
def test_no_runtime_warns_when_it_loads(tmp_path: Path, integers: Graphs, name: str, precision: str, io: str) -> None:
    path = written(tmp_path, integers, name, precision, io)
    done = subprocess.run([sys.executable, "-c", LOAD, name, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-mixed"])
def test_nothing_is_stored_that_nobody_reads(tmp_path: Path, integers: Graphs, precision: str) -> None:
    graph = onnx.load(written(tmp_path, integers, "onnx", precision, "float32")).graph
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    assert {tensor.name for tensor in graph.initializer} <= read
