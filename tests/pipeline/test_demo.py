"""``mfs-edge demo``: the main job on the embedded faces."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import cv2
import pytest

from mfs_edge import bundle
from mfs_edge.base.errors import InputError, MissingDependency, OutputError
from mfs_edge.base.progress import Recorded
from mfs_edge.bundle.manifest import read
from mfs_edge.pipeline import demo as run
from mfs_edge.pipeline import site


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


def test_the_page_has_everybody_and_pictures_to_try(result: run.DemoResult) -> None:
    page = run.require_page(result.out)
    assert page == result.out / "web"
    told = json.loads((page / site.SITE).read_text())
    entries = [told["own"], *told["packs"], *told["pictures"]]
    assert len(told["packs"]) == run.sample.IDENTITIES - 1
    named = [entry[key] for entry in entries for key in ("file", "picture") if key in entry]
    assert all((page / name).is_file() for name in named)
    assert "detector" not in told
    assert all(len(one["landmarks"]) == 5 for one in told["pictures"])
    artefact = next(page.glob("*.web")).name
    assert f"{artefact}/?site=../{site.SITE}" in (page / site.START).read_text()


def test_it_serves_the_page_that_is_there(result: run.DemoResult) -> None:
    command = [sys.executable, "-m", "mfs_edge", "demo", str(result.out), "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "to this machine only; Ctrl-C ends it." in line  # the first one: nothing was made again
        url = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
        with urllib.request.urlopen(f"{url}site.json") as answer:
            assert answer.headers.get_content_type() == "application/json"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0


def test_a_demo_without_a_page_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "missing", lambda: ["wasmtime"])
    assert run.page_of(tmp_path) is None
    with pytest.raises(MissingDependency, match=r"wasmtime was not installed; pip install 'mfs-edge\[web\]'"):
        run.require_page(tmp_path)


def test_a_detector_that_lacks_something_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"npm install @litertjs/core"):
        run.demo(tmp_path / "out", overwrite=False, detector=tmp_path, steps=Recorded())
    assert not (tmp_path / "out").exists()
