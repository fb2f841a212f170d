"""Files that a runtime refuses where it is measured: what is told is the line that says why."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from mfs_edge import target
from mfs_edge.base.errors import InputError
from mfs_edge.measure.devices import Options, Request, Watch, open_device
from tests.measure.conftest import Server

POSITION = re.compile(r"\.(?:cpp|cc|hpp|h|py):\d+|Exception from|ONNXRuntimeError|\n")


def ir(old: str, new: str) -> Callable[[Path, Path], Path]:
    def make(artefacts: Path, folder: Path) -> Path:
        text = (artefacts / "idn.xml").read_text(encoding="utf-8")
        assert old in text
        (folder / "a.xml").write_text(text.replace(old, new, 1), encoding="utf-8")
        shutil.copy(artefacts / "idn.bin", folder / "a.bin")
        return folder / "a.xml"

    return make


def graph(change: Callable[[onnx.ModelProto], None]) -> Callable[[Path, Path], Path]:
    def make(artefacts: Path, folder: Path) -> Path:
        model = onnx.load(artefacts / "idn.onnx")
        change(model)
        onnx.save(model, folder / "a.onnx")
        return folder / "a.onnx"

    return make


def newer(model: onnx.ModelProto) -> None:
    model.ir_version = 99


def renamed(model: onnx.ModelProto) -> None:
    model.graph.node[3].op_type = "Nonsense"


def out_of_bounds(model: onnx.ModelProto) -> None:
    """An index that is computed, so that loading finds nothing."""
    image, last = model.graph.input[0].name, model.graph.node[-1].output[0]
    output = next(value for value in model.graph.output if value.name == last)
    output.name = "gathered"
    hundred = onnx.helper.make_tensor("hundred", onnx.TensorProto.FLOAT, [], [100.0])
    model.graph.initializer.append(hundred)
    whole = {"keepdims": 0}
    model.graph.node.extend(
        [
            onnx.helper.make_node("ReduceMax", [image], ["brightest"], **whole),
            onnx.helper.make_node("Add", ["brightest", "hundred"], ["beyond"]),
            onnx.helper.make_node("Cast", ["beyond"], ["index"], to=onnx.TensorProto.INT64),
            onnx.helper.make_node("Gather", [last, "index"], ["gathered"], axis=1),
        ]
    )
    del output.type.tensor_type.shape.dim[1]


def later(artefacts: Path, folder: Path) -> Path:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs((artefacts / "idn.tflite").read_bytes()))
    model.operatorCodes[1].version = 99
    model.metadata = []  # a hash of the contents among it, which our own reader would find wrong first
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    (folder / "a.tflite").write_bytes(bytes(builder.Output()))
    return folder / "a.tflite"


REFUSED = {
    "OpenVINO, operator": (ir('type="Sigmoid"', 'type="Sigmoidal"'), "load it .*operation with type: Sigmoidal"),
    "OpenVINO, opset": (ir('version="opset1"', 'version="opset99"'), "load it .*unsupported opset: opset99"),
    "OpenVINO, strides": (ir('strides="2, 2"', 'strides="0, 0"'), r"load it \(Strides has zero .*, at node "),
    "onnxruntime, version": (graph(newer), r"load it \(Unsupported model IR version: 99, max supported"),
    "onnxruntime, operator": (graph(renamed), "load it .*No Op registered for Nonsense"),
    "onnxruntime, while it runs": (graph(out_of_bounds), "run it .*Gather.*out of data bounds"),
    "LiteRT, version": (later, r"load it \(Didn't find op for builtin opcode .*'99'.*Registration failed"),
}


@pytest.fixture(params=REFUSED)
def refused(request: pytest.FixtureRequest, artefacts: Path, tmp_path: Path) -> tuple[Path, str]:
    make, why = REFUSED[request.param]
    return make(artefacts, tmp_path), why


def told(spec: str, path: Path, quick: Request, python: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        open_device(spec, Options(python=python)).measure(path, quick, Watch())
    said = str(caught.value)
    assert not POSITION.search(said)
    return said


def test_here(refused: tuple[Path, str], quick: Request) -> None:
    path, why = refused
    assert re.search(f"{path.name}: on local, the runtime cannot {why}", told("local", path, quick))


def test_by_the_command(refused: tuple[Path, str]) -> None:
    path, why = refused
    command = [sys.executable, "-m", "mfs_edge", "bench", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=path.parent, check=False)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("mfs-edge: ")]
    assert done.returncode == 2, done.stderr
    assert re.search(why, line)
    assert not POSITION.search(line)


def test_over_ssh(
    refused: tuple[Path, str], sshd: Server, quick: Request, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, why = refused
    monkeypatch.setenv("MFS_EDGE_SSH", sshd.client)
    sshd.configure()
    assert re.search(f"{path.name}: on ssh:.*, the runtime cannot {why}", told(sshd.spec, path, quick, python))
    assert sshd.is_clean()


def test_in_this_process(artefacts: Path, tmp_path: Path) -> None:
    """As ``compile`` and ``inspect`` run a file."""
    path = graph(out_of_bounds)(artefacts, tmp_path)
    loaded = target.of_file(path).load(path)
    for ask in (lambda: loaded.run(np.zeros(loaded.input[1][0], np.float32)), loaded.execution):
        with pytest.raises(InputError, match=r"a\.onnx: onnxruntime cannot run it \(.*out of data bounds") as caught:
            ask()
        assert not POSITION.search(str(caught.value))
