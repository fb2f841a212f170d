"""``enrol``: from a base and two checkpoints to a proven artefact; what is refused leaves nothing behind."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfs_edge
from mfs_edge import sample, target
from mfs_edge.base.errors import CheckpointError, InputError, MfsEdgeError, OutputError, UsageError
from mfs_edge.bundle import manifest
from mfs_edge.cli.enrol import enrol as command
from mfs_edge.load.checkpoint import Checkpoint, save_safetensors
from mfs_edge.load.identity import Identity
from mfs_edge.measure import facts
from mfs_edge.sample import weights


@pytest.fixture(scope="module")
def demo_arcface() -> Checkpoint:
    return weights.checkpoint("arcface")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, demo_iin: Checkpoint, demo_identities: list[Identity]) -> Path:
    out = tmp_path_factory.mktemp("enrol") / "build"
    mfs_edge.compile(identity=demo_identities[0], checkpoint=demo_iin, size=32, out=out, verify=False)
    return out


def test_an_artefact_is_written_recorded_and_proven(
    base: Path, demo_arcface: Checkpoint, demo_iin: Checkpoint, tmp_path: Path
) -> None:
    out = tmp_path / "enrol"
    result = mfs_edge.enrol(base=base, arcface=demo_arcface, checkpoint=demo_iin, precision="fp16", out=out)
    assert result.passed
    (made,) = manifest.read(out / "manifest.json").artefacts
    assert (made.file, made.task, made.identity_sha256) == ("enrol-fp16.onnx", "enrol", "")
    assert made.arcface is not None
    assert (made.arcface.sha256, made.checkpoint.sha256) == (demo_arcface.sha256, demo_iin.sha256)
    assert made.files == {made.file: hashlib.sha256((out / made.file).read_bytes()).hexdigest()}
    assert made.verification.verified == "runtime"
    assert made.verification.swapped is not None
    assert made.verification.swapped.psnr_worst >= 50
    assert any("demo" in line for line in made.warnings)
    entries = target.get("onnx").read(out / made.file).metadata
    assert "biometric data" in entries["notice"]
    assert entries["arcface_sha256"] == demo_arcface.sha256
    assert sorted(path.name for path in out.iterdir()) == ["enrol-fp16.onnx", "manifest.json"]
    with pytest.raises(InputError, match="holds no artefact"):  # bench measures what runs on every frame
        facts.artefacts((out,))
    crop = np.ascontiguousarray(sample.target(1).transpose(2, 0, 1)[None], np.float32) / 255
    assert target.get("onnx").load(out / made.file).enrol(crop).shape == (25_264,)


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"base": "nowhere"}, InputError, "nowhere"),
        ({"precision": "fp8"}, UsageError, "fp32, fp16, int8"),
        ({"precision": "int8-mixed"}, UsageError, "fp32, fp16, int8"),
        ({"target": "tensorrt"}, UsageError, "unknown"),
        ({"min_psnr": -1}, UsageError, "--min-psnr"),
        ({"sha256": "ab"}, UsageError, "64 hexadecimal"),
        ({"sha256": "0" * 64}, UsageError, "no checkpoint was read"),
        ({"arcface": "gone.pdparams"}, InputError, "gone.pdparams"),
    ],
)
def test_what_cannot_be_done_is_refused(
    base: Path, demo_arcface: Checkpoint, demo_iin: Checkpoint, tmp_path: Path,
    change: dict[str, Any], kind: type[MfsEdgeError], said: str,
) -> None:  # fmt: skip
    given = {"base": base, "arcface": demo_arcface, "checkpoint": demo_iin, "out": tmp_path / "enrol"} | change
    with pytest.raises(kind, match=said):
        mfs_edge.enrol(**given)
    assert not (tmp_path / "enrol").exists()


def test_a_target_without_enrolment_is_told(
    base: Path, demo_arcface: Checkpoint, demo_iin: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(target.get("onnx")), "enrolment", ("fp16",))
    with pytest.raises(UsageError, match=r"target onnx has no enrolment with --precision fp32; it offers fp16"):
        mfs_edge.enrol(base=base, arcface=demo_arcface, checkpoint=demo_iin, out=tmp_path / "enrol")
    assert not (tmp_path / "enrol").exists()


def test_another_checkpoints_base_is_refused(
    base: Path, demo_arcface: Checkpoint, demo_iin: Checkpoint, tmp_path: Path
) -> None:
    other = replace(demo_iin, sha256="1" * 64, source="other.pdparams")
    with pytest.raises(InputError, match=r"was compiled from embedded demo weights .* not from other\.pdparams"):
        mfs_edge.enrol(base=base, arcface=demo_arcface, checkpoint=other, out=tmp_path / "enrol")
    assert not (tmp_path / "enrol").exists()


def test_an_iin_given_as_arcface_is_told(base: Path, demo_iin: Checkpoint, tmp_path: Path) -> None:
    save_safetensors(demo_iin, tmp_path / "iin.safetensors")
    with pytest.raises(CheckpointError, match="--checkpoint"):
        mfs_edge.enrol(base=base, arcface=tmp_path / "iin.safetensors", checkpoint=demo_iin, out=tmp_path / "e")


def test_a_strangers_folder_is_left_alone(
    base: Path, demo_arcface: Checkpoint, demo_iin: Checkpoint, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        mfs_edge.enrol(base=base, arcface=demo_arcface, checkpoint=demo_iin, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_python_api_and_the_command_line_have_the_same_names_and_defaults() -> None:
    parameters = inspect.signature(mfs_edge.enrol).parameters
    options = {parameter.name: parameter for parameter in command.params if parameter.name != "json"}
    assert options.keys() == parameters.keys() - {"steps"}
    defaults = command.make_context("enrol", ["--arcface", "x"]).params
    for name in ("base", "out", "precision", "overwrite", "min_psnr", "verify"):
        assert str(defaults[name]) == str(parameters[name].default), name
