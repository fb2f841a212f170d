"""What a file is, told from the file."""

from __future__ import annotations

from pathlib import Path

import pytest

import mfs_edge
from mfs_edge.about.inspection import inspect
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.load import provenance
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


def test_where_an_identity_came_from(demo_identities: list[Identity], tmp_path: Path) -> None:
    path = tmp_path / "id.npy"
    save(demo_identities[0], path)
    assert inspect(path).facts["taken from"] == "not recorded (id.json is not beside it)"
    points = [[1.0, 2.0], [30.0, 2.0], [15.0, 20.0], [4.0, 30.0], [26.0, 30.5]]
    record = provenance.Provenance("me.jpg", "1" * 64, "2" * 64, points, 29.0, 3.25, 0.9, "id.crop.png")
    provenance.save(record, path)
    facts = inspect(path).facts
    assert (facts["taken from"], facts["picture sha256"], facts["arcface sha256"]) == ("me.jpg", "1" * 64, "2" * 64)
    assert facts["landmarks"] == "1,2; 30,2; 15,20; 4,30; 26,30.5"
    assert facts["fit"] == "29 px between the eyes, worst residual 3.25 of 112 px"
    provenance.save(provenance.Provenance("crop.png", "1" * 64, "2" * 64), path)
    assert inspect(path).facts["landmarks"] == "none: it was an aligned crop"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"mfs-edge": "identity"}', '{"mfs-edge": 1}', "[" * 9999, "\udcff"]
)
def test_a_damaged_record_claims_nothing(demo_identities: list[Identity], tmp_path: Path, text: str) -> None:
    save(demo_identities[0], tmp_path / "id.npy")
    (tmp_path / "id.json").write_bytes(text.encode(errors="surrogateescape"))
    assert "not recorded (id.json is damaged" in inspect(tmp_path / "id.npy").facts["taken from"]


@pytest.mark.parametrize("points", [5, "text", [1], [[1]], [["a", "b"]]])
def test_a_record_of_other_types_claims_nothing(
    demo_identities: list[Identity], tmp_path: Path, points: object
) -> None:
    path = tmp_path / "id.npy"
    save(demo_identities[0], path)
    provenance.save(provenance.Provenance("x", "1", "2", points, 1.0, 1.0), path)  # type: ignore[arg-type]
    assert "not recorded (id.json is damaged" in inspect(path).facts["taken from"]


def test_a_record_of_another_identity_claims_nothing(demo_identities: list[Identity], tmp_path: Path) -> None:
    path = tmp_path / "id.npy"
    save(demo_identities[0], path)
    provenance.save(provenance.Provenance("me.jpg", "1" * 64, "2" * 64), path)
    save(demo_identities[1], path)
    facts = inspect(path).facts
    assert facts["taken from"] == f"not recorded (id.json is {provenance.FOREIGN})"
    assert "picture sha256" not in facts


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
