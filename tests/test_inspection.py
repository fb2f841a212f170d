"""What a file is, told from the file."""

from __future__ import annotations

from pathlib import Path

import pytest

import mfs_edge
from mfs_edge.checkpoint import Checkpoint, save_safetensors
from mfs_edge.errors import InputError, UsageError
from mfs_edge.identity import Identity, save
from mfs_edge.inspection import inspect


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
