"""The main job through the Python API, on the authors' tensors."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfs_edge
from mfs_edge import precisions
from mfs_edge.base import images
from mfs_edge.base.errors import CheckpointError, UsageError
from mfs_edge.base.progress import Recorded
from mfs_edge.cli import main as cli
from mfs_edge.fold import fold
from mfs_edge.graph import build, edit, passes
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.pipeline.plan import plan
from mfs_edge.target import get

Arrays = Mapping[str, np.ndarray]
DEFAULTS: dict[str, Any] = {
    "precision": None, "io": None, "set": (), "size": 224, "optimize": 1, "min_psnr": None, "steps": Recorded()
}  # fmt: skip


@pytest.mark.parametrize("optimize", [0, 1])
@pytest.mark.parametrize("size", [224, 256])
def test_the_written_onnx_gives_the_authors_answers(
    golden: Arrays, golden_iin: Checkpoint, golden_identity: Identity, tmp_path: Path, size: int, optimize: int
) -> None:
    result = mfs_edge.compile(
        identity=golden_identity, checkpoint=golden_iin, size=size, optimize=optimize, out=tmp_path / "build"
    )
    assert result.passed
    runner = get("onnx").load(result.out / f"idn-{size}-fp32.onnx")
    outputs = runner.run(images.to_nchw(golden[f"target{size}/image"]))
    assert np.abs(outputs["swapped"][0] - golden[f"target{size}/output"]).max() <= 5e-5
    assert np.abs(outputs["mask"][0] - golden[f"target{size}/mask"]).max() <= 5e-5


@pytest.mark.parametrize("size", [32, 96, 160])
def test_any_multiple_of_32_works(golden_iin: Checkpoint, golden_identity: Identity, tmp_path: Path, size: int) -> None:
    result = mfs_edge.compile(identity=golden_identity, checkpoint=golden_iin, size=size, out=tmp_path / "build")
    (artefact,) = result.manifest.artefacts
    assert artefact.verification.status == "passed"
    assert artefact.inputs[0].shape == (1, 3, size, size)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_artefacts_are_reproducible(
    demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path, precision: str
) -> None:
    for name in ("a", "b"):
        mfs_edge.compile(
            identity=demo_identities[1],
            checkpoint=demo_iin,
            size=64,
            precision=precision,
            out=tmp_path / name,
            verify=False,
        )
    first, second = ((tmp_path / name / f"idn-64-{precision}.onnx").read_bytes() for name in ("a", "b"))
    assert first == second
    assert (tmp_path / "a/manifest.json").read_text() == (tmp_path / "b/manifest.json").read_text()


@pytest.mark.parametrize("optimize", [0, 1])
def test_half_precision_is_rounded_for_the_outputs(
    golden_iin: Checkpoint, golden_identity: Identity, optimize: int
) -> None:
    plain = passes.optimise(build.build(fold(golden_iin, golden_identity).weights(), size=32), level=optimize)
    made = precisions.make(precisions.Base(plain), "fp16", None, min_psnr=None, steps=Recorded())
    for conv in edit.of_type(made.model.graph, "Conv"):
        weight = edit.weight(conv, 1)
        assert np.array_equal(weight, weight.astype(np.float16))


def test_without_verification_the_manifest_says_so(
    demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path
) -> None:
    result = mfs_edge.compile(
        identity=demo_identities[0], checkpoint=demo_iin, size=64, out=tmp_path / "build", verify=False
    )
    (artefact,) = result.manifest.artefacts
    assert (artefact.verification.status, artefact.verification.run) == ("not verified", "not run: switched off")


def test_a_wrong_artefact_does_not_pass(demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path) -> None:
    """The judge is not fooled by a valid graph of somebody else."""
    from mfs_edge.base import fidelity
    from mfs_edge.sample.pictures import exam_pictures
    from mfs_edge.verify.reference import reference_of

    result = mfs_edge.compile(identity=demo_identities[0], checkpoint=demo_iin, out=tmp_path / "build")
    pictures = exam_pictures(224)
    other = reference_of(demo_iin, demo_identities[1])
    found = fidelity.compare(
        get("onnx").load(result.out / "idn-224-fp32.onnx"), pictures, [other(picture) for picture in pictures]
    )
    assert not fidelity.passes(found, fidelity.DEFAULT_MIN_PSNR["fp32"])


def test_the_manifest_counts_what_the_paper_counts(
    demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path
) -> None:
    result = mfs_edge.compile(
        identity=demo_identities[0], checkpoint=demo_iin, out=tmp_path / "build", verify=False, optimize=0
    )
    assert result.manifest.artefacts[0].macs == 305_722_368


def test_progress_is_recorded(demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path) -> None:
    steps = Recorded()
    mfs_edge.compile(
        identity=demo_identities[0], checkpoint=demo_iin, size=64, out=tmp_path / "build", verify=False, steps=steps
    )
    assert {"fold identity and build graph", "emit onnx fp32"} <= set(steps.seconds)
    assert any("drawn faces" in note for note in steps.notes)


def test_an_unknown_precision_is_refused(demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fp8"):
        mfs_edge.compile(identity=demo_identities[0], checkpoint=demo_iin, precision="fp8", out=tmp_path / "build")
    assert list(tmp_path.iterdir()) == []


def test_the_python_api_and_the_command_line_have_the_same_names() -> None:
    options = {parameter.name for parameter in cli.compile.params} - {
        "json",
        "min_ios",
    }  # the latter is short for a set
    assert "set" in options
    assert options == set(inspect.signature(mfs_edge.compile).parameters) - {"steps"}


def test_an_iin_given_as_arcface_is_told(demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path) -> None:
    from mfs_edge.load.checkpoint import save_safetensors

    save_safetensors(demo_iin, tmp_path / "iin.safetensors")
    np.save(tmp_path / "map.npy", demo_identities[0].feature_map)
    with pytest.raises(CheckpointError, match="--checkpoint"):
        mfs_edge.compile(
            identity=tmp_path / "map.npy", checkpoint=demo_iin, arcface=tmp_path / "iin.safetensors", out=tmp_path / "b"
        )


def test_all_leaves_out_what_lacks_an_option_and_says_so() -> None:
    steps = Recorded()
    asked = {**DEFAULTS, "precision": "int8", "io": "image", "steps": steps}
    assert [job.target.name for job in plan(target="all", **asked)] == ["coreml"]
    assert any("skipped tflite" in note and "image" in note for note in steps.notes)
    with pytest.raises(UsageError, match="onnx has no --io image"):
        plan(target=("all", "onnx"), **asked)


@pytest.mark.parametrize(
    "given", [{"coreml.min_ios": 18}, {"coreml.min_ios": "18"}, ["coreml.min_ios=18"], ("coreml.min_ios=18",)]
)
def test_a_targets_own_options_reach_it(given: Any) -> None:
    (job,) = plan(target="coreml", **{**DEFAULTS, "set": given})
    assert job.options.own is not None
    assert job.options.own.model_dump() == {"min_ios": 18}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("coreml.min_oss=17", r"has no option min_oss; did you mean min_ios\? there are: min_ios"),
        ("coremel.min_ios=17", "did you mean coreml"),
        ("coreml.min_ios=19", r"--set coreml\.min_ios=19: cannot be used; .*it takes 16, 17, 18, 26"),
        ("coreml.min_ios=new", "it takes 16, 17, 18, 26"),
        ("onnx.opset=17", "has no option opset; it has none"),
        ("min_ios=17", r"write TARGET\.OPTION=VALUE"),
        ("coreml.min_ios", r"write TARGET\.OPTION=VALUE"),
        ("coreml.min_ios=17", "add --target coreml"),
    ],
)
def test_a_wrong_option_of_a_target_is_refused_before_any_work(given: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        plan(target="onnx", **{**DEFAULTS, "set": [given]})


def test_what_is_set_for_a_target_that_all_leaves_out_is_no_error() -> None:
    asked = {**DEFAULTS, "io": "uint8", "set": ["coreml.min_ios=17"]}
    assert {job.target.name for job in plan(target="all", **asked)} == {
        "c",
        "coreml",
        "onnx",
        "openvino",
        "tflite",
        "web",
    }


def test_integers_need_the_passes() -> None:
    with pytest.raises(UsageError, match="--optimize 1"):
        plan(target="onnx", **{**DEFAULTS, "precision": "int8", "optimize": 0})


def test_the_manifest_records_the_options(
    demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path
) -> None:
    result = mfs_edge.compile(
        identity=demo_identities[0], checkpoint=demo_iin, size=32, target=("coreml", "onnx"), out=tmp_path / "build",
        set={"coreml.min_ios": 18}, verify=False,
    )  # fmt: skip
    coreml, onnx = result.manifest.artefacts
    assert (coreml.options, onnx.options) == ({"min_ios": 18}, {})
    assert get("coreml").read(result.out / coreml.file).metadata["minimum iOS"] == "18"
