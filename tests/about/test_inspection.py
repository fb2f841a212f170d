"""What a file is, told from the file."""

from __future__ import annotations

from pathlib import Path

import pytest

import mfs_edge
from mfs_edge.about.inspection import inspect
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.load.checkpoint import Checkpoint, save_safetensors
from mfs_edge.load.identity import Identity, save


@pytest.fixture(scope="module")
def build(demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("inspect") / "build"
    mfs_edge.compile(identity=demo_identities[0], checkpoint=demo_iin, out=out, verify=False)
    return out


def test_a_checkpoint(demo_iin: Checkpoint, tmp_path: Path) -> None:
    save_safetensors(demo_iin, tmp_path / "iin.safetensors")
    found = inspect(tmp_path / "iin.safetensors")
    assert (found.kind, found.facts["tensors"], found.facts["convention"]) == ("checkpoint", 167, "torch")
    assert "--checkpoint" in found.facts["use it as"]
    assert sum(row["parameters"] for row in found.tables["parts"]) == found.facts["parameters"]


def test_an_identity_shows_its_hash_and_no_values(demo_identities: list[Identity], tmp_path: Path) -> None:
    save(demo_identities[0], tmp_path / "id.npy")
    found = inspect(tmp_path / "id.npy")
    assert (found.kind, found.facts["sha256"]) == ("identity", demo_identities[0].sha256)


def test_an_artefact_and_its_layers(build: Path) -> None:
    found = inspect(build / "idn-224-fp32.onnx", layers=True)
    assert found.kind == "artefact"
    assert found.facts["macs"] == sum(row["macs"] for row in found.tables["layers"]) <= 296_100_000
    assert {row["name"] for row in found.tables["tensors"]} == {"image", "swapped", "mask"}
    assert found.facts["identity_sha256"]


def test_a_build_folder_is_checked_against_its_hashes(build: Path) -> None:
    assert inspect(build).tables["artefacts"][0]["intact"]
    path = build / "idn-224-fp32.onnx"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert not inspect(build).tables["artefacts"][0]["intact"]
    with pytest.raises(InputError, match=r"idn-224-fp32\.onnx"):
        inspect(path)
    path.write_bytes(whole)


def test_what_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"notes\.txt"):
        inspect(tmp_path / "notes.txt")
    with pytest.raises(InputError, match=r"manifest\.json"):
        inspect(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        inspect(tmp_path / "nothing")
    with pytest.raises(UsageError, match="no layers"):
        inspect(tmp_path / "notes.txt", layers=True)


@pytest.fixture(scope="module")
def integers(demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("integers") / "build"
    target = ("onnx", "tflite", "openvino")
    mfs_edge.compile(
        identity=demo_identities[0],
        checkpoint=demo_iin,
        out=out,
        target=target,
        size=32,
        precision="int8",
        verify=False,
    )
    return out


@pytest.mark.parametrize("suffix", [".tflite", ".xml"])
def test_quantised_tensors_are_the_same_in_every_format(integers: Path, suffix: str) -> None:
    """Scale, zero point and contribution of every activation that both files have."""
    columns = ("scale", "zero point", "swapped dB", "mask dB")
    onnx, other = (
        {row["tensor"]: row for row in inspect(path, quant=True).tables["quantised tensors"]}
        for path in (integers / "idn-32-int8.onnx", (integers / "idn-32-int8.onnx").with_suffix(suffix))
    )
    activations = {name for name, row in onnx.items() if row["kind"] == "activation"}
    assert len(activations) > 60
    assert activations <= set(other)
    for name in activations:
        assert other[name]["scale"] == pytest.approx(onnx[name]["scale"], rel=1e-4)
        assert [other[name][key] for key in columns[1:]] == [onnx[name][key] for key in columns[1:]]
    weights = {name: row for name, row in onnx.items() if row["kind"] == "weight"}
    assert weights
    for name, row in weights.items():
        if other[name]["channels"] == row["channels"]:  # TFLite makes four pixels at a time of some
            assert (other[name]["low"], other[name]["high"]) == pytest.approx((row["low"], row["high"]), abs=2e-4)


def test_contributions_need_the_onnx_form(integers: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.tflite"
    alone.write_bytes((integers / "idn-32-int8.tflite").read_bytes())
    found = inspect(alone, quant=True)
    assert "alone.onnx" in found.facts["alone"]
    assert {row["mask dB"] for row in found.tables["quantised tensors"]} == {""}


def test_a_float_file_has_no_quantised_tensors(build: Path) -> None:
    with pytest.raises(UsageError, match="is not quantised"):
        inspect(build / "idn-224-fp32.onnx", quant=True)
    with pytest.raises(UsageError, match="no quantised tensors"):
        inspect(build, quant=True)
