"""``bench --frame``: whole frames of a camera, stage by stage, under the same gate."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import mfs_edge
from mfs_edge import target
from mfs_edge.base.errors import CheckFailed, InputError, MissingDependency, UsageError
from mfs_edge.cli import main
from mfs_edge.measure import ends, gate, history, luggage, results, run, table, task, whole
from mfs_edge.measure.devices import Options, Request, Watch, open_device
from mfs_edge.measure.observed import WholeFrame
from mfs_edge.measure.results import Entry
from mfs_edge.sample import probe
from tests.measure.conftest import FRAMED, Server, entry

SIZE = FRAMED
FRAME = "330x200"
STAGES = ["align", "network", "paste"]


def test_every_runtime_is_timed(folder: Path, tmp_path: Path) -> None:
    """And the record, the tables, the page and the history say so; the picture is still the one that was proven."""
    outputs = {name: tmp_path / name for name in ("json", "html", "history")}
    report = run.bench(folder, frame=FRAME, threads=1, **outputs)
    assert report.passed
    assert len(report.entries) == 4
    for row in report.entries:
        seen, latency = row.observation.frame, row.observation.latency
        assert seen is not None
        assert latency is not None
        assert (seen.width, seen.height) == (330, 200)
        assert 0 < seen.changed < 200**2 / 4  # the crop's side is half of the frame's
        assert [stage.stage for stage in seen.stages] == STAGES
        assert all(stage.ms == np.median(stage.samples_ms) > 0 for stage in seen.stages)
        sums = np.sum([stage.samples_ms for stage in seen.stages], axis=0)
        assert latency.samples_ms == pytest.approx(sums)
        assert sum(stage.share for stage in seen.stages) == pytest.approx(1)
        assert any("the picture that was proven" in note for note in row.observation.notes)
    assert results.load(tmp_path / "json") == report
    (shown,) = [rows for _, columns, rows in table.tables(report) if columns == table.frames(report)]
    assert table.frames(report) == ("artefact", "device", "frame", *STAGES, "p50", "fps")
    assert [row[:3] for row in shown] == [(row.facts.file, "local", FRAME) for row in report.entries]
    assert table.FRAME_REMARK in (tmp_path / "html").read_text()
    lines = [json.loads(line) for line in (tmp_path / "history").read_text().splitlines()]
    assert all(line["stages"] == "swap" for line in lines)
    assert all(line["frame"] == FRAME and {f"{stage}_ms" for stage in STAGES} < set(line) for line in lines)


def test_crops_are_not_told_as_frames(folder: Path, tmp_path: Path) -> None:
    report = run.bench(folder / f"idn-{SIZE}-fp32.idn", threads=1, history=tmp_path / "history")
    assert report.entries[0].observation.frame is None
    assert table.FRAME_REMARK not in [remark for remark, _, _ in table.tables(report)]
    assert "frame" not in json.loads((tmp_path / "history").read_text())


def test_over_ssh(folder: Path, sshd: Server, quick: Request, python: str) -> None:
    """With the C, which needs nothing there, and with a runtime of crops; nothing is left."""
    remote = open_device(sshd.spec, Options(python=python))
    request = Request(**{**vars(quick), "frame": (330, 200)})
    for name in (f"idn-{SIZE}-fp32.idn", f"idn-{SIZE}-fp32.onnx"):
        found = remote.measure(folder / name, request, Watch())
        assert found.frame is not None
        assert found.frame.size == FRAME
        assert len(found.frame.stages[0].samples_ms) == found.latency.runs if found.latency else 0
        assert found.picture is not None
    assert sshd.is_clean()


def test_a_budget_and_a_base_hold_frames_too(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "budget.toml").write_text("[default]\nnetwork_ms = 0.000001\nalign_ms = 10000\npaste_ms = 10000\n")
    artefact = folder / f"idn-{SIZE}-fp32.idn"
    report = run.bench(artefact, frame=FRAME, threads=1, budget=tmp_path / "budget.toml", json=tmp_path / "base.json")
    with pytest.raises(CheckFailed, match=r"network_ms .* is over its budget"):
        run.require_passed(report)
    assert len(report.causes) == 1
    again = run.bench(artefact, frame=FRAME, threads=1, baseline=tmp_path / "base.json")
    assert again.passed
    assert [trend.frame for trend in again.trends] == [FRAME]
    assert run.bench(artefact, threads=1, baseline=tmp_path / "base.json").trends == ()
    crops = run.bench(artefact, threads=1, budget=tmp_path / "budget.toml")
    assert crops.passed
    assert any("network_ms has a budget, but is not known here" in note for note in crops.notes)


def test_without_a_clock_no_time_is_told_or_held(folder: Path, tmp_path: Path) -> None:
    """A few frames are run for the picture; what they took is no measurement."""
    (tmp_path / "budget.toml").write_text("[default]\nnetwork_ms = 0.000001\n")
    artefact = folder / f"idn-{SIZE}-fp32.idn"
    report = run.bench(artefact, frame=FRAME, threads=1, time=False, budget=tmp_path / "budget.toml")
    assert report.passed
    assert any("network_ms has a budget, but is not known here" in note for note in report.notes)
    assert report.entries[0].observation.frame is None
    assert table.FRAME_REMARK not in [remark for remark, _, _ in table.tables(report)]


def framed(size: tuple[int, int] | None) -> Entry:
    """A made-up entry of frames of that size, or of crops."""
    made = entry()
    frame = (
        WholeFrame.of(*size, stages_ms={"align": [1.0], "network": [2.0], "paste": [3.0]}, changed=7) if size else None
    )
    return made.model_copy(update={"observation": made.observation.model_copy(update={"frame": frame})})


@pytest.mark.parametrize(("now", "stored", "told"), [(None, None, 1), ((64, 64), None, 0), (None, (64, 64), 0)])
def test_only_like_is_told_beside_like(now: Any, stored: Any, told: int) -> None:
    report = results.Report(versions={}, entries=(framed(stored),))
    assert len(gate.check_baseline(report, Path("base.json"), [framed(now)])[1]) == told


def test_of_several_that_are_stored_the_like_one_is_taken() -> None:
    report = results.Report(versions={}, entries=(framed(None), framed((64, 64)), framed((64, 65))))
    for size in (None, (64, 64), (64, 65)):
        _, (trend,) = gate.check_baseline(report, Path("base.json"), [framed(size)])
        assert trend.frame == (f"{size[0]}x{size[1]}" if size else "")


def test_without_opencv_there_it_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The C needs none."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1 is not there')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingDependency, match=r"libGL.*onnxruntime.*pip install opencv-python-headless") as told:
        run.bench(folder / f"idn-{SIZE}-fp32.onnx", frame=FRAME, threads=1)
    assert told.value.exit_code == 3
    assert run.bench(folder / f"idn-{SIZE}-fp32.idn", frame=FRAME, threads=1).passed


@pytest.mark.parametrize(
    "given", ["1920", "1920x", "1920x1080x3", "-5x80", "axb", "0x0", "63x200", "200x99999", "", "8 x 9"]
)
def test_what_is_no_size_is_refused(folder: Path, given: str) -> None:
    with pytest.raises(UsageError, match=r"is no size of a frame; write it like 1920x1080"):
        run.bench(folder, frame=given)


def test_a_device_of_crops_is_refused_before_it_is_reached(folder: Path) -> None:
    with pytest.raises(UsageError, match="adb times aligned crops only; use local or ssh"):
        run.bench(folder, frame=FRAME, device=["local", "adb"], runner=sys.executable)


def test_the_command_line(folder: Path) -> None:
    said = CliRunner().invoke(
        main.cli, ["bench", str(folder / f"idn-{SIZE}-fp32.idn"), "--frame", FRAME, "--threads", "1"]
    )
    assert said.exit_code == 0, said.output
    assert FRAME in said.output
    assert "network" in said.output


def test_both_ways_swap_the_same_face(folder: Path) -> None:
    """The engine's own frame and the composed one; the drawn face is where its landmarks are."""
    path = folder / f"idn-{SIZE}-fp32.idn"
    engine = target.get("c").load(path).engine
    picture = probe.picture(SIZE)
    direct = whole.Frames(whole.swapper(engine, str(path)), still := whole.Still(picture, 330, 200))
    direct(), direct()
    composed = whole.Composed(engine, str(path))
    pixels = still.original.copy()
    assert list(composed(pixels, still.landmarks)) == STAGES
    assert np.abs(still.pixels.astype(int) - pixels).max() <= 1
    assert (pixels != still.original).any()
    assert len(direct.samples(2)) == len(direct.stages(2)["paste"]) == 2
    crop = composed.align.cut(still.original, composed.align.affine(still.landmarks, SIZE), SIZE)
    drawn = np.rint(picture[0].transpose(1, 2, 0) * 255)
    assert np.abs(crop - drawn)[4:-4, 4:-4].mean() < 20


@pytest.mark.parametrize("travellers", [whole.TRAVELLERS, (*whole.TRAVELLERS, *ends.TRAVELLERS)])
def test_what_travels_runs_on_old_interpreters(travellers: Sequence[str]) -> None:
    """Python 3.9 reads every file, and none of them asks for another of the package."""
    root = Path(mfs_edge.__file__).parent
    there = {name.removesuffix(".py").replace("/", ".") for name in travellers}
    for name in (*travellers, "measure/whole.py", "measure/ends.py"):
        tree = ast.parse((root / name).read_text(), feature_version=(3, 9))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "strict"]
        imported = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module != "__future__"]
        assert "Self" not in {alias.name for node in imported for alias in node.names}  # of 3.11
        for node in imported:
            if str(node.module).startswith("mfs_edge."):
                inside = str(node.module).removeprefix("mfs_edge.")
                assert {inside} <= there or {f"{inside}.{alias.name}" for alias in node.names} <= there, (
                    name,
                    node.module,
                )


def test_nothing_of_frames_travels_without_one(folder: Path) -> None:
    plain = luggage.pack(folder / f"idn-{SIZE}-fp32.onnx")
    more = luggage.pack(folder / f"idn-{SIZE}-fp32.onnx", frame=(330, 200))
    assert not any(name.startswith("whole") for name in plain.files)
    assert {name for name in more.files if name not in plain.files} >= {"whole.py", "whole/mfs_edge/face/paste.py"}


def test_an_artefact_that_takes_no_picture_is_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "ab"]
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "a.onnx")
    with pytest.raises(InputError, match="takes no picture of a face"):
        run.bench(tmp_path / "a.onnx", frame=FRAME, threads=1)


def test_a_mask_that_shows_nothing_is_told() -> None:
    """Its paste would be flattered."""
    seen = framed((64, 64)).observation
    assert task.remarks(seen) == []
    nothing = WholeFrame.of(64, 64, stages_ms={"align": [1.0]}, changed=0)
    (told,) = task.remarks(seen.model_copy(update={"frame": nothing}))
    assert "the network's mask shows nothing of the face" in told


def test_history_holds_no_samples() -> None:
    assert not any("samples" in key for key in history._line(framed((64, 64))))
