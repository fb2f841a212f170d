"""External data of an ONNX file belongs to the artefact: counted, hashed, sent; and only from its own folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from mfs_edge import target
from mfs_edge.base.errors import InputError
from mfs_edge.bundle import proof
from mfs_edge.measure import facts
from mfs_edge.measure.devices import Request
from mfs_edge.measure.devices.ssh import SshDevice
from tests.bundle import made


def saved(model: onnx.ModelProto, path: Path, location: str, *, threshold: int = 0) -> int:
    """``model`` with its weights in ``location``; returns their bytes."""
    (path.parent / location).parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(
        model, path, save_as_external_data=True, location=location, size_threshold=threshold, convert_attribute=True
    )
    return (path.parent / location).stat().st_size


@pytest.fixture
def model(artefacts: Path) -> onnx.ModelProto:
    return onnx.load(artefacts / "idn.onnx")


@pytest.mark.parametrize("location", ["idn.onnx.data", "weights.bin", "deep/er/w", "ünï x;$(y).data"])
def test_weights_elsewhere_are_counted_hashed_and_sent(
    model: onnx.ModelProto, artefacts: Path, tmp_path: Path, location: str
) -> None:
    path = tmp_path / "idn.onnx"
    size = saved(model, path, location)
    found = facts.of(path)
    assert found.bytes == path.stat().st_size + size
    assert size > 0.9 * (artefacts / "idn.onnx").stat().st_size
    assert found.parameters == facts.of(artefacts / "idn.onnx").parameters
    assert target.artefact(path).members == (path, tmp_path / location)
    header, sent = SshDevice("host", python="python3")._packed(path, Request(threads=1, runs=50, warmup=10, cpus=()))
    names = [name for name, _, _ in header["files"]]
    assert sent[names.index(f"artefact/{location}")] == (tmp_path / location).read_bytes()
    content = bytearray((tmp_path / location).read_bytes())
    content[-1] ^= 1
    (tmp_path / location).write_bytes(content)
    assert facts.of(path).sha256 != found.sha256


def tensor(location: str) -> bytes:
    return made.field(13, made.field(1, b"location") + made.field(2, location.encode())) + b"\x70\x01"


def test_several_files_and_a_subgraph(tmp_path: Path) -> None:
    """In a branch of If, in an attribute and in a sparse tensor, too."""
    node = made.field(5, made.field(6, made.field(5, tensor("./inner.bin"))))
    sparse = made.field(15, made.field(1, tensor("s.bin")))
    tensors = b"".join(made.field(5, tensor(name)) for name in ("a.bin", "b.bin", "a.bin"))
    (tmp_path / "x.onnx").write_bytes(made.field(7, made.field(1, node) + sparse + tensors))
    for name in ("a.bin", "b.bin", "inner.bin", "s.bin", "unrelated.bin"):
        (tmp_path / name).write_bytes(b"1")
    assert target.artefact(tmp_path / "x.onnx").companions == ("a.bin", "b.bin", "inner.bin", "s.bin")


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/passwd", "a/../../x", "..\\x", "*/_ORT_MEM_ADDR_/*", "", "."]
)
def test_names_out_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(b"secret")
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/x.onnx"
    path.write_bytes(made.onnx_model("x", location))
    for look in (facts.of, target.artefact):
        with pytest.raises(InputError, match=r"not inside|not beside") as caught:
            look(path)
        assert "\n" not in str(caught.value)
    assert proof.stamp(path) is None


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/w.bin").symlink_to("../secret")
    (tmp_path / "in/x.onnx").write_bytes(made.onnx_model("x", "w.bin"))
    with pytest.raises(InputError, match="symbolic link"):
        target.artefact(tmp_path / "in/x.onnx")


def test_missing_weights_are_named(model: onnx.ModelProto, tmp_path: Path) -> None:
    saved(model, tmp_path / "x.onnx", "x.onnx.data")
    (tmp_path / "x.onnx.data").unlink()
    with pytest.raises(InputError, match=r"x\.onnx\.data.*not beside it"):
        facts.of(tmp_path / "x.onnx")


def test_a_model_with_all_inside_ignores_what_lies_beside(artefacts: Path, tmp_path: Path) -> None:
    shutil.copy(artefacts / "idn.onnx", tmp_path)
    (tmp_path / "idn.onnx.data").write_bytes(b"stale")
    assert target.artefact(tmp_path / "idn.onnx").companions == ()


def test_quantised_values_are_read_from_where_they_are(tmp_path: Path) -> None:
    values = np.arange(-3, 3, dtype=np.int8)
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["w", "scale"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", 1, [6])],
        [onnx.numpy_helper.from_array(values, "w"), onnx.numpy_helper.from_array(np.float32(0.5), "scale")],
    )
    whole = helper.make_model(graph)
    onnx.save(whole, tmp_path / "whole.onnx")
    saved(whole, tmp_path / "apart.onnx", "apart.data")
    (there,), (here,) = (target.get("onnx").read(tmp_path / f"{name}.onnx").quantised() for name in ("apart", "whole"))
    assert there == here
