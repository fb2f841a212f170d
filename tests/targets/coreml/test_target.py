"""What the target writes around the program, and what it says of broken packages."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import coremltools
import onnx_ir as ir
import pytest
from mfs_edge.targets.coreml import CoremlOptions, CoremlTarget

from mfs_edge.base import files
from mfs_edge.base.errors import InputError, LoweringError, MissingDependency, OutputError, UsageError
from mfs_edge.target import EmitOptions

TARGET = CoremlTarget()
MODEL = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")


@pytest.fixture
def broken(package: Any, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(package(precision="fp16", io="image", size=224), tmp_path / "broken.mlpackage"))


def test_equal_graphs_make_equal_bytes(graph: Any, tmp_path: Path) -> None:
    options = EmitOptions(precision="fp16", io="image", metadata={"identity": "abc"})
    for name in "ab":
        TARGET.emit(graph("demo", size=32), tmp_path / f"{name}.mlpackage", options)
    assert files.sha256(tmp_path / "a.mlpackage") == files.sha256(tmp_path / "b.mlpackage")


def test_writing_again_replaces(graph: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.mlpackage"
    TARGET.emit(graph("demo", size=32), path, EmitOptions(precision="fp16", io="image"))
    (path / "stray").touch()
    TARGET.emit(graph("demo", size=64), path, EmitOptions(precision="fp16", io="image"))
    assert TARGET.read(path).takes[0].shape == (1, 64, 64, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mlpackage"]
    assert not (path / "stray").exists()


@pytest.mark.parametrize(("io", "kinds"), [
    ("image", [("uint8", "NHWC", "0..255"), ("uint8", "NHWC", "0..255"), ("float16", "NCHW", "0..1")]),
    ("uint8", [("uint8", "NHWC", "0..255")] * 3),
    ("float32", [("float32", "NCHW", "0..1")] * 3),
])  # fmt: skip
def test_description(package: Any, io: str, kinds: list[tuple[str, str, str]]) -> None:
    found = TARGET.read(package(precision="fp16", io=io, size=224))
    tensors = [*found.takes, *found.gives]
    assert [tensor.name for tensor in tensors] == ["image", "swapped", "mask"]
    assert [(tensor.dtype, tensor.layout, tensor.range) for tensor in tensors] == kinds
    assert found.metadata["identity"] == "abc123"
    assert found.metadata["coremltools"]
    assert found.metadata["author"].startswith("mfs-edge")
    assert found.operators["conv"] == 32
    assert "const" not in found.operators


def test_every_feature_is_described(package: Any) -> None:
    from mfs_edge.targets.coreml import evaluator as mil

    description = mil.Package.open(package(precision="fp16", io="image", size=224)).model.description
    assert description.metadata.shortDescription
    assert all(feature.shortDescription for feature in (*description.input, *description.output))


@pytest.mark.parametrize(
    ("ios", "specification", "opset"), [(16, 7, "CoreML6"), (17, 8, "CoreML7"), (18, 9, "CoreML8")]
)
def test_min_ios(graph: Any, tmp_path: Path, ios: int, specification: int, opset: str) -> None:
    options = EmitOptions(precision="fp16", io="image", own=CoremlOptions(min_ios=ios))
    TARGET.emit(graph("demo", size=32), tmp_path / "a.mlpackage", options)
    found = TARGET.read(tmp_path / "a.mlpackage")
    assert found.format.endswith(f"specification {specification}")
    assert found.details["opset"] == opset
    assert found.metadata["minimum iOS"] == str(ios)


def test_an_ios_that_this_coremltools_does_not_know(
    graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coremltools, "target", Enum("target", ["iOS16"]))
    with pytest.raises(UsageError, match=r"min_ios=26 is unknown to coremltools \d"):
        TARGET.emit(graph("demo", size=32), tmp_path / "a.mlpackage", EmitOptions(own=CoremlOptions(min_ios=26)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("precision", "given", "oldest"), [("int8", None, 17), ("fp16", None, 16), ("int8", 16, 16)])
def test_integers_ask_for_ios_17_unless_told_otherwise(precision: str, given: Any, oldest: int) -> None:
    assert CoremlOptions(min_ios=given).resolved(precision).min_ios == oldest


def one_node(op_type: str, **attributes: Any) -> ir.Model:
    image = ir.val("image", dtype=ir.DataType.FLOAT, shape=[1, 3, 32, 32])
    out = ir.Value(name="swapped", shape=ir.Shape([1, 3, 32, 32]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.node(op_type, [image], attributes, outputs=[out], name="odd.one")
    return ir.Model(ir.Graph([image], [out], nodes=[node], opset_imports={"": 17}, name="g"), ir_version=8)


@pytest.mark.parametrize("model", [one_node("Det"), one_node("Resize", mode="nearest")], ids=["unknown", "unfit"])
def test_an_operator_without_a_lowering(model: ir.Model, tmp_path: Path) -> None:
    kind = next(iter(model.graph)).op_type
    with pytest.raises(LoweringError, match=rf"'odd\.one'.*{kind}"):
        TARGET.emit(model, tmp_path / "a.mlpackage", EmitOptions())
    assert list(tmp_path.iterdir()) == []


def test_weights_beyond_half_precision_are_refused(graph: Any, tmp_path: Path) -> None:
    with pytest.raises(LoweringError, match="half precision"):
        TARGET.emit(graph("golden", size=32, level=0), tmp_path / "a.mlpackage", EmitOptions(precision="fp16"))


def test_another_suffix_is_refused(graph: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.mlpackage"):
        TARGET.emit(graph("demo", size=32), tmp_path / "a.zip", EmitOptions())


def remove_manifest(path: Path) -> None:
    (path / "Manifest.json").unlink()


def cut_manifest(path: Path) -> None:
    (path / "Manifest.json").write_text((path / "Manifest.json").read_text()[:100])


def foreign_manifest(path: Path) -> None:
    (path / "Manifest.json").write_text(json.dumps({"itemInfoEntries": {}}))


def remove_model(path: Path) -> None:
    (path / MODEL).unlink()


def cut_model(path: Path) -> None:
    (path / MODEL).write_bytes((path / MODEL).read_bytes()[:-1000])


def remove_weights(path: Path) -> None:
    (path / WEIGHTS).unlink()


def cut_weights(path: Path) -> None:
    (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-1000])


def change_weights(path: Path) -> None:
    data = bytearray((path / WEIGHTS).read_bytes())
    data[len(data) // 2] ^= 1
    (path / WEIGHTS).write_bytes(data)


@pytest.mark.parametrize(("damage", "named"), [
    (remove_manifest, "Manifest.json"), (cut_manifest, "Manifest.json"), (foreign_manifest, "Manifest.json"),
    (remove_model, "model.mlmodel"), (cut_model, "model.mlmodel"),
    (remove_weights, "weight.bin"), (cut_weights, "weight.bin.*truncated"), (change_weights, "weight.bin.*damaged"),
])  # fmt: skip
def test_damage_is_reported(broken: Path, damage: Callable[[Path], None], named: str) -> None:
    damage(broken)
    for attempt in (TARGET.read, TARGET.load):
        with pytest.raises(InputError, match=named) as caught:
            attempt(broken)
        assert "\n" not in str(caught.value)


def test_neither_a_file_nor_nothing_is_a_package(tmp_path: Path) -> None:
    file = tmp_path / "file.mlpackage"
    file.touch()
    for path, why in ((file, "is a file"), (tmp_path / "none.mlpackage", "no such folder")):
        with pytest.raises(InputError, match=why):
            TARGET.read(path)


def test_running_needs_macos(package: Any) -> None:
    path = package(precision="fp16", io="image", size=224)
    if sys.platform == "darwin":
        assert TARGET.unrunnable() is None
        assert "operators on" in TARGET.load(path).execution()
    else:
        assert TARGET.unrunnable() == "not run: needs macOS"
        with pytest.raises(MissingDependency, match="not run: needs macOS"):
            TARGET.load(path)
