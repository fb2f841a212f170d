"""``mfs-edge demo``: the main job on the embedded faces."""

from __future__ import annotations

import cv2
import pytest

from mfs_edge import bundle
from mfs_edge.base.errors import OutputError
from mfs_edge.base.progress import Recorded
from mfs_edge.bundle.manifest import read
from mfs_edge.pipeline import demo as run


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> run.DemoResult:
    return run.demo(tmp_path_factory.mktemp("demo") / "out", overwrite=False, steps=Recorded())


def test_it_really_swaps(result: run.DemoResult) -> None:
    assert result.teacher_psnr >= 23.5
    assert result.copy_psnr == pytest.approx(17.9, abs=0.1)


def test_every_artefact_is_verified_and_recorded(result: run.DemoResult) -> None:
    manifest = read(result.out / "manifest.json")
    assert manifest == result.manifest
    assert {a.target for a in manifest.artefacts} == {"c", "coreml", "onnx", "openvino", "tflite", "web"}
    for artefact in manifest.artefacts:
        assert (result.out / artefact.file).exists()
        assert artefact.verification.status == "passed"
        assert artefact.verification.verified == ("evaluator" if artefact.target == "coreml" else "runtime")
    assert any("not for photographs" in warning for warning in manifest.warnings)


def test_identities_differ(result: run.DemoResult) -> None:
    hashes = {artefact.identity_sha256 for artefact in result.manifest.artefacts}
    assert len(hashes) == len(run.SHOWN)


def test_the_contact_sheet_is_a_picture_of_all(result: run.DemoResult) -> None:
    sheet = cv2.imread(str(result.sheet))
    assert sheet.shape[0] > len(run.SHOWN) * 224
    assert sheet.shape[1] >= 5 * 224
    assert sheet.std() > 20


def test_it_can_be_run_again_but_not_over_other_files(result: run.DemoResult) -> None:
    (result.out / "letter.txt").write_text("keep me")
    with pytest.raises(OutputError, match=r"letter\.txt"):
        run.demo(result.out, overwrite=False, steps=Recorded())
    (result.out / "letter.txt").unlink()
    bundle.check_folder(result.out, overwrite=False, ours=run.OURS)
