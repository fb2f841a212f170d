"""``mfs-edge demo``: the main job on the embedded faces."""

from __future__ import annotations

import functools
import io
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from mfs_edge import bundle
from mfs_edge.about import inspection
from mfs_edge.base import images
from mfs_edge.base.errors import InputError, MissingDependency, OutputError
from mfs_edge.base.progress import Recorded
from mfs_edge.bundle.manifest import read
from mfs_edge.cli import main, show
from mfs_edge.face.models import VARIABLE, Models
from mfs_edge.pipeline import compile as pipeline
from mfs_edge.pipeline import demo as run
from mfs_edge.pipeline import film, site
from mfs_edge.sample import film as drawing
from tests.swap.video.films import seen

RUN_HERE = {"c", "onnx", "openvino", "tflite", "web"}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, face_models: Models) -> run.DemoResult:
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


def test_a_folder_of_that_name_which_is_somebody_elses_stays(tmp_path: Path) -> None:
    (tmp_path / film.FOLDER).mkdir()
    with pytest.raises(OutputError, match=film.FOLDER):
        run.demo(tmp_path, overwrite=False, steps=Recorded())
    assert [path.name for path in tmp_path.iterdir()] == [film.FOLDER]


def test_each_target_that_runs_here_swaps_the_drawn_video(result: run.DemoResult) -> None:
    """As many frames at the same times, the tone bit for bit, and a face that is another in every one of them."""
    before = seen(result.out / film.FOLDER / film.DRAWN, pictures=True)
    assert len(before.times) == drawing.FRAMES
    assert before.packets[0]
    ran = {one.target: one for one in result.film if one.video}
    assert ran.keys() == RUN_HERE
    points = json.loads((result.out / film.FOLDER / film.POINTS).read_text())
    for one in ran.values():
        after = seen(result.out / one.video, pictures=True)
        assert after.times == before.times
        assert after.packets == before.packets
        for old, new, [five] in zip(before.pictures, after.pictures, points, strict=True):
            changed = np.abs(new.astype(int) - old).mean(axis=2)
            x, y = np.rint(five[2]).astype(int)
            assert changed[y - 15 : y + 15, x - 15 : x + 15].mean() > 8
            assert changed[:, 480:][:40].mean() < 3, "the upper right corner is never the face's"
        assert one.frames == drawing.FRAMES
        assert one.rate is not None
        assert [stage.stage for stage in one.stages] == ["decode", "detect", "align", "network", "paste", "encode"]
    facts = inspection.inspect(result.out / ran["onnx"].video).facts
    assert facts["manifest"].startswith("valid")


def test_core_ml_is_said_not_to_have_run(result: run.DemoResult) -> None:
    (coreml,) = (one for one in result.film if one.target == "coreml")
    assert (coreml.video, coreml.rate) == ("", None)
    assert coreml.reason == "not run: needs macOS"


def test_a_whole_frame_before_and_after(result: run.DemoResult) -> None:
    assert result.picture is not None
    picture = images.read_rgb(result.picture)
    assert picture.shape == (drawing.HEIGHT, 2 * drawing.WIDTH + 8, 3)
    before, after = (picture[:, part].astype(int) for part in (slice(640), slice(648, None)))
    drawn, five = list(drawing.frames())[film.SHOWN]
    assert np.abs(before - drawn).mean() < 3
    x, y = np.rint(five[2]).astype(int)
    assert np.abs(after - before)[y - 15 : y + 15, x - 15 : x + 15].mean() > 8


def test_what_is_printed(result: run.DemoResult, monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(show, "_console", lambda: Console(file=told, width=160, markup=False, highlight=False))
    show.demonstrated(result, seconds={}, notes=[], json=False)
    assert "the drawn video, 50 frames: ms per frame of each stage" in told.getvalue()
    for words in ("frames/s", "network", "video/drawn-c.mp4", "not run: needs macOS", film.PICTURE):
        assert words in told.getvalue()
    assert json.loads(json.dumps(result.as_json(), default=str))["video"][0]["frames_per_second"]


def test_without_pyav_it_says_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    notes: list[str] = []
    assert film.Screening.prepared(notes.append) is None
    (line,) = notes
    assert line.startswith("the drawn video is left out: av is needed")
    assert line.endswith("pip install 'mfs-edge[video]'")


def test_without_the_models_the_known_landmarks_are_given(
    result: run.DemoResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it says so; a folder of models that was named and is empty is refused before any work."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match="face_detection_short_range"):
        run.demo(tmp_path / "demo", overwrite=False, steps=Recorded())
    assert not (tmp_path / "demo").exists()
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    notes: list[str] = []
    screening = film.Screening.prepared(notes.append)
    assert screening == film.Screening(given=True)
    assert "mfs-edge face-models" in notes[0]
    folder = result.out / run.FOLDERS[run.FILMED]
    manifest = read(folder / bundle.MANIFEST)
    one = manifest.model_copy(update={"artefacts": [a for a in manifest.artefacts if a.target == "tflite"]})
    (done,) = screening.show(tmp_path, pipeline.Result(folder, one), steps=Recorded(), known=())
    assert done.frames == drawing.FRAMES
    assert (tmp_path / done.video).exists()


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
    # Whoever runs the tests in the background has Ctrl-C ignored, and children inherit that.
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": heard}
    with subprocess.Popen(command, **pipes) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "to this machine only; Ctrl-C ends it." in line  # the first one: nothing was made again
            url = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
            with urllib.request.urlopen(f"{url}site.json") as answer:
                assert answer.headers.get_content_type() == "application/json"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def test_a_demo_without_a_page_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "missing", lambda: ["wasmtime"])
    assert run.page_of(tmp_path) is None
    with pytest.raises(MissingDependency, match=r"wasmtime was not installed; pip install 'mfs-edge\[web\]'"):
        run.require_page(tmp_path)


def test_a_detector_that_lacks_something_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"npm install @litertjs/core"):
        run.demo(tmp_path / "out", overwrite=False, detector=tmp_path, steps=Recorded())
    assert not (tmp_path / "out").exists()


def test_a_port_without_a_server_is_refused(tmp_path: Path) -> None:
    said = CliRunner().invoke(main.cli, ["demo", str(tmp_path / "out"), "--port", "8000"])
    assert said.exit_code == 2
    assert "add --serve, or leave it out" in said.output
    assert not (tmp_path / "out").exists()
