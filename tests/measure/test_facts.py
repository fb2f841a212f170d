"""Which files are artefacts, and what belongs to one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from mfs_edge import target
from mfs_edge.base.errors import InputError
from mfs_edge.measure import facts

FORMATS = ("idn.onnx", "idn.tflite", "idn.xml")
IO = (("x", 1024), ("y", 1))


def test_a_bundle_folder_and_foreign_files(artefacts: Path, tmp_path: Path) -> None:
    assert [path.name for path in facts.artefacts((artefacts,))] == sorted(FORMATS)
    assert facts.artefacts((artefacts / "idn.onnx", artefacts / "idn.onnx")) == [artefacts / "idn.onnx"]
    with pytest.raises(InputError, match="holds no artefact"):
        facts.artefacts((tmp_path,))
    with pytest.raises(InputError, match="no such file"):
        facts.artefacts((tmp_path / "none.onnx",))
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(InputError, match="is not an artefact"):
        facts.artefacts((tmp_path / "picture.png",))


def test_openvino_weights_belong_to_the_file(artefacts: Path) -> None:
    found = facts.of(artefacts / "idn.xml")
    assert found.bytes == (artefacts / "idn.xml").stat().st_size + (artefacts / "idn.bin").stat().st_size
    assert list(target.artefact(artefacts / "idn.xml").members) == [artefacts / "idn.xml", artefacts / "idn.bin"]


def test_counts_that_no_device_could_do_are_damage(tmp_path: Path) -> None:
    """Every shape can be; what they multiply to cannot."""
    tensors = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, c, 1, 2**52]) for n, c in IO]
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1, 2048, 1, 1], np.zeros(2048))
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", tensors[:1], tensors[1:], [weight])
    (tmp_path / "x.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(InputError, match=r"x\.onnx: is damaged"):
        facts.of(tmp_path / "x.onnx")
