"""What is shown of a runtime's exception: the line that says why, from the real ones."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from mfs_edge import target
from mfs_edge.base.errors import InputError
from mfs_edge.target import EmitOptions
from tests.targets.integers import Graphs


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        target.of_file(path).load(path)
    said = str(caught.value)
    assert len(said) < len(str(path)) + 450
    assert not any(position in said for position in (".cpp:", ".cc:", ".hpp:", ".h:", "Exception from", "Check '"))
    return said


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('type="Sigmoid"', 'type="Sigmoidal"', "doesn't contain the operation with type: Sigmoidal"),
        ('version="opset1"', 'version="opset99"', "from unsupported opset: opset99"),
        ('strides="2, 2"', 'strides="0, 0"', "Strides has zero dimension(s). Strides{0, 0}"),
        ('<net name="', '<net version="99" was="', "Unable to read the model"),
    ],
)
def test_openvino_says_why(tmp_path: Path, integers: Graphs, old: str, new: str, why: str) -> None:
    path = tmp_path / "idn.xml"
    target.get("openvino").emit(integers("fp32"), path, EmitOptions("fp32"))
    text = path.read_text(encoding="utf-8")
    assert old in text
    text = text.replace(' version="11"', "") if "<net" in old else text
    path.write_text(text.replace(old, new), encoding="utf-8")
    assert why in refused(path)


def foreign_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Foo"


def newer(model: onnx.ModelProto) -> None:
    model.ir_version = 99


def later_operators(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def wrong_type(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT8


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (foreign_operator, "No Op registered for Foo with domain_version"),
        (newer, "Unsupported model IR version: 99, max supported IR version"),
        (later_operators, "Current official support for domain ai.onnx is till opset"),
        (wrong_type, "tensor(int8)"),
    ],
)
def test_onnxruntime_says_why(tmp_path: Path, integers: Graphs, change, why: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "idn.onnx"
    target.get("onnx").emit(integers("fp32"), path, EmitOptions("fp32"))
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    assert why in refused(path)
