"""``bench --stages all``: frames out of a video, their face found, swapped, and into another video."""

from __future__ import annotations

import json
import sys
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import mfs_edge
from mfs_edge.base.errors import CheckFailed, InputError, MissingDependency, UsageError
from mfs_edge.cli import main
from mfs_edge.face.detect import Detector
from mfs_edge.face.models import Models
from mfs_edge.measure import ends, gate, history, luggage, results, run, table, whole
from mfs_edge.measure.devices import Options, Request, Watch, open_device
from mfs_edge.measure.observed import WholeFrame
from mfs_edge.measure.results import Entry
from mfs_edge.measure.runner import Failure
from mfs_edge.sample import probe
from mfs_edge.swap.stages import ORDER
from mfs_edge.swap.video import encoders
from tests.measure.conftest import FRAMED, Server, entry

SIZE = FRAMED
FRAME, PIXELS = "330x200", (330, 200)
IDN, ONNX = f"idn-{SIZE}-fp32.idn", f"idn-{SIZE}-fp32.onnx"


@pytest.fixture
def models(face_models: Models, monkeypatch: pytest.MonkeyPatch) -> Models:
    """Where they are found by default."""
    monkeypatch.setenv("MFS_EDGE_FACE_MODELS", str(face_models.detector.parent))
    return face_models


def filmed(tmp_path: Path, detector: Any, size: tuple[int, int] = PIXELS) -> ends.Film:
    """The video, and what finds the face in it."""
    scene = whole.scene(probe.picture(SIZE), size[0] + 8, size[1] + 8)
    return ends.Film(ends.Camera(scene, 4), tmp_path / "film.mp4", detector, Failure)


def test_every_stage_of_every_runtime_is_timed(folder: Path, models: Models, tmp_path: Path) -> None:
    """And the record, the tables, the page and the history say so; the picture is still the one that was proven."""
    outputs = {name: tmp_path / name for name in ("json", "html", "history")}
    report = run.bench(folder, frame=FRAME, stages="all", threads=1, **outputs)
    assert report.passed
    assert len(report.entries) == 4
    for row in report.entries:
        seen, latency = row.observation.frame, row.observation.latency
        assert seen is not None
        assert latency is not None
        assert (seen.size, seen.chosen, seen.searched) == (FRAME, "all", 0)
        assert 0 < seen.changed < 200**2 / 4
        assert tuple(stage.stage for stage in seen.stages) == ORDER
        assert all(stage.ms == np.median(stage.samples_ms) > 0 for stage in seen.stages)
        assert latency.samples_ms == pytest.approx(np.sum([stage.samples_ms for stage in seen.stages], axis=0))
        assert any("the picture that was proven" in note for note in row.observation.notes)
        assert f"  detect: the face was followed in {latency.runs} frames" in table.details(row)
    assert results.load(tmp_path / "json") == report
    columns = ("artefact", "device", "frame", *ORDER, "p50", "fps")
    (shown,) = [rows for _, found, rows in table.tables(report) if found == columns]
    assert all(len(row) == len(columns) for row in shown)
    assert "<th>encode</th>" in (tmp_path / "html").read_text()
    lines = [json.loads(line) for line in (tmp_path / "history").read_text().splitlines()]
    assert all(line["stages"] == "all" and {f"{stage}_ms" for stage in ORDER} < set(line) for line in lines)


def test_over_ssh(folder: Path, models: Models, sshd: Server, quick: Request, python: str) -> None:
    """By the files that came along; nothing of it is left."""
    remote = open_device(sshd.spec, Options(python=python))
    request = Request(**{**vars(quick), "frame": PIXELS, "finders": (models.detector, models.mesh)})
    for name in (IDN, ONNX):
        found = remote.measure(folder / name, request, Watch())
        assert found.frame is not None
        assert found.latency is not None
        assert found.frame.kind == f"{FRAME}, all stages"
        assert tuple(stage.stage for stage in found.frame.stages) == ORDER
        assert len(found.frame.stages[0].samples_ms) == found.latency.runs
    assert sshd.is_clean()


def test_budgets_of_every_stage(folder: Path, models: Models, tmp_path: Path) -> None:
    budget = tmp_path / "budget.toml"
    budget.write_text("[default]\ndecode_ms = 10000\ndetect_ms = 0.000001\nencode_ms = 10000\n")
    report = run.bench(folder / IDN, frame=FRAME, stages="all", threads=1, budget=budget)
    with pytest.raises(CheckFailed, match=r"detect_ms .* is over its budget"):
        run.require_passed(report)
    assert len(report.causes) == 1
    swap = run.bench(folder / IDN, frame=FRAME, threads=1, budget=budget)
    unknown = "encode_ms has a budget, but is not known here; time it with --frame WxH --stages all"
    assert any(note.endswith(unknown) for note in swap.notes)


def framed(**stages: float) -> Entry:
    """A made-up entry of frames of which these stages were chosen."""
    made = entry()
    chosen: Any = "all" if "decode" in stages else "swap"
    samples = {stage: [ms] for stage, ms in stages.items()}
    frame = WholeFrame.of(64, 64, stages_ms=samples, changed=7, chosen=chosen, searched=1 if chosen == "all" else None)
    return made.model_copy(update={"observation": made.observation.model_copy(update={"frame": frame})})


def test_only_the_same_stages_are_told_beside_each_other() -> None:
    swap, every = framed(align=1.0), framed(decode=1.0, align=1.0)
    for now, stored, told in ((swap, every, 0), (every, swap, 0), (every, every, 1)):
        _, trends = gate.check_baseline(results.Report(versions={}, entries=(stored,)), Path("base.json"), [now])
        assert len(trends) == told
    both = results.Report(versions={}, entries=(swap, every))
    _, (trend,) = gate.check_baseline(both, Path("base.json"), [every])
    assert trend.frame == "64x64, all stages"
    assert not any("samples" in key for key in history._line(every))
    assert "  detect: the face was followed in 0 frames, searched for in 1" in table.details(every)


def test_what_cannot_be_asked_for_is_refused_before_anything_is_measured(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--stages all: is for whole frames; give their size, too, like --frame"):
        run.bench(folder, stages="all")
    with pytest.raises(UsageError, match="--stages some: there are swap and all"):
        run.bench(folder, frame=FRAME, stages="some")
    with pytest.raises(UsageError, match=r"--face-models .*: faces are found with --stages all; add it"):
        run.bench(folder, frame=FRAME, face_models=tmp_path)
    with pytest.raises(InputError, match=r"face_detection_short_range.tflite: no such file"):
        run.bench(folder, frame=FRAME, stages="all", face_models=tmp_path)


def test_a_device_that_only_swaps_is_refused(folder: Path, models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's; and those of crops are refused for their frames."""
    from mfs_edge.measure.devices.local import LocalDevice

    with pytest.raises(UsageError, match="adb times aligned crops only; use local or ssh"):
        run.bench(folder, frame=FRAME, stages="all", device=["adb"], runner=sys.executable)
    monkeypatch.setattr(LocalDevice, "every_stage", False)
    with pytest.raises(UsageError, match="--stages all: local times the swap only; use local or ssh"):
        run.bench(folder, frame=FRAME, stages="all")


def test_models_that_were_never_fetched(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MFS_EDGE_FACE_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(MissingDependency, match=r"fetch them with: mfs-edge face-models, or name .*--face-models DIR$"):
        run.bench(folder, frame=FRAME, stages="all")


@pytest.mark.parametrize(
    ("module", "written", "told"),
    [
        ("cv2", "raise ImportError('no libGL')", r"cv2, for detect, .*no libGL.*pip install 'opencv-python-headless'"),
        ("av", "raise ImportError('no libc')", r"av, for decode and encode, .*no libc.*pip install 'av>=18\.1,<19'"),
        ("av", "__version__ = '17.2.0'", r"need another av than 17\.2\.0: pip install 'av>=18\.1,<19'"),
        ("av", "__version__ = '19.0'", r"need another av than 19\.0: pip install 'av>=18\.1,<19'"),
        (
            "ai_edge_litert",
            "raise ImportError('no libm')",
            r"LiteRT, for detect, .*no libm.*install 'ai-edge-litert'",
        ),
    ],
)
def test_what_is_missing_there_is_named(
    folder: Path, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, written: str, told: str
) -> None:
    """All stages need them, in C too, whose swap needs none."""
    (tmp_path / f"{module}.py").write_text(written)
    (tmp_path / "tflite_runtime.py").write_text("raise ImportError('is not there')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingDependency, match=told) as raised:
        run.bench(folder / IDN, frame=FRAME, stages="all", threads=1)
    assert raised.value.exit_code == 3
    assert "\n" not in str(raised.value)


def test_a_frame_in_which_no_face_is_found_has_no_time(folder: Path, models: Models) -> None:
    """It is not, where it is a hundredth of a frame's width."""
    with pytest.raises(UsageError, match=r"local: the detector does not find the face in a frame of 4000x64.*larger"):
        run.bench(folder / IDN, frame="4000x64", stages="all", threads=1)


def test_the_command_line(folder: Path, models: Models) -> None:
    given = ["bench", str(folder / IDN), "--frame", FRAME, "--stages", "all", "--threads", "1"]
    said = CliRunner().invoke(main.cli, [*given, "--face-models", str(models.detector.parent)])
    assert said.exit_code == 0, said.output
    assert all(stage in said.output for stage in ORDER)
    assert "detect: the face was followed in" in said.output


def test_the_video_is_what_was_drawn_and_the_face_in_it_is_followed(tmp_path: Path, detector: Detector) -> None:
    """Through two passes of it; each frame comes out of the decoder, with points that move as the drawn ones do."""
    film = filmed(tmp_path, detector)
    found, drawn = [], []
    for number in range(ends.LAP + 3):
        pixels, landmarks, times = film.next()
        index = ends.AHEAD + number % ends.LAP
        assert film._frame.index == index
        assert np.array_equal(film.original, pixels)
        assert probe.psnr(pixels / 255.0 - film._camera.frame(index) / 255.0) > 28
        assert list(times) == ["decode", "detect"]
        assert list(film.take()) == ["encode"]
        found.append(landmarks)
        drawn.append(film._camera.landmarks(index))
    moved = np.array(found).mean(axis=1), np.array(drawn).mean(axis=1)
    assert np.ptp(moved[1], axis=0).min() >= 7
    assert np.ptp(moved[0] - moved[1], axis=0).max() < 3
    assert film.searched == [True, *[False] * (ends.LAP + 2)]
    assert film.told(ends.LAP) == {"searched": 0}
    film.close()


class Lost:
    """A detector that loses every face it finds."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def sightings(self, image: np.ndarray, **how: Any) -> Any:
        """Of uint8 [H, W, 3]."""
        return self.detector.sightings(image, **how)

    def follow(self, image: np.ndarray, region: Any) -> None:
        """Of uint8 [H, W, 3]."""


def test_a_search_is_not_told_as_following(tmp_path: Path, detector: Detector) -> None:
    film = filmed(tmp_path, Lost(detector))
    for _ in range(3):
        film.next()
    assert film.told(2) == {"searched": 2}
    film.close()


def test_a_face_elsewhere_is_not_the_drawn_one(tmp_path: Path, detector: Detector) -> None:
    film = filmed(tmp_path, detector)
    film._camera.points = film._camera.points + 60
    with pytest.raises(Failure) as raised:
        film.next()
    assert raised.value.args[0] == "usage"
    film.close()


def test_a_full_disk_is_told(detector: Detector) -> None:
    camera = ends.Camera(whole.scene(probe.picture(SIZE), 208, 158), 4)
    with pytest.raises(Failure) as raised:
        ends.Film(camera, Path("/dev/full"), detector, Failure)
    assert raised.value.args[0] == "full"


@pytest.mark.parametrize("size", [(331, 201), (1280, 720)])
def test_both_codecs_are_full_when_a_lap_begins(size: tuple[int, int]) -> None:
    """Each picture that the encoder takes then brings one out, of odd sizes too."""
    import av

    look = encoders.plain(*size, Fraction(1, ends.RATE), Fraction(ends.RATE))
    camera = ends.Camera(whole.scene(probe.picture(SIZE), size[0] + 8, size[1] + 8), 4)
    with av.open("/dev/null", "w", format="mp4") as file:
        stream = encoders.add(file, encoders.H264, look, encoders.H264.options)
        given = []
        for index in range(ends.AHEAD + 4):
            made = look.colour.frame(camera.frame(index), encoders.H264.layout(*size))
            made.pts, made.time_base = index, look.time_base
            given.append(len(stream.encode(made)))
    assert given[0] == 0
    assert set(given[ends.AHEAD :]) == {1}


def test_it_is_what_swap_does() -> None:
    """The same stages, the same length of pieces, and the same PyAV."""
    assert (*ends.BEFORE, *whole.STAGES, *ends.BEHIND) == ORDER
    assert ends.AHEAD + ends.LAP == encoders.PIECE
    project = tomllib.loads((Path(mfs_edge.__file__).parents[1] / "pyproject.toml").read_text())
    assert ends.AV in project["project"]["optional-dependencies"]["video"]
    bounds = [".".join(map(str, bound)) for bound in (ends.AV_FROM, ends.AV_BELOW)]
    assert f"av>={bounds[0]},<{bounds[1]}" == ends.AV


def test_an_interpreter_that_is_too_old_for_av(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "AV_PYTHON", (sys.version_info[0], sys.version_info[1] + 1))
    with pytest.raises(Failure, match=r"--stages all needs Python 3\.\d+, this one is 3\.\d+; name another"):
        ends.require("opencv-python-headless", Failure)


def test_nothing_of_the_ends_travels_without_them(folder: Path, models: Models) -> None:
    plain = luggage.pack(folder / ONNX, frame=PIXELS)
    more = luggage.pack(folder / ONNX, frame=PIXELS, finders=(models.detector, models.mesh))
    added = {name for name in more.files if name not in plain.files}
    assert added >= {"ends.py", "litert.py", ends.DETECTOR, ends.MESH, "whole/mfs_edge/swap/video/reader.py"}
    assert more.files["whole/mfs_edge/swap/video/__init__.py"] == b""
    assert not {"ends.py", "litert.py", ends.DETECTOR} & set(plain.files)
    assert "--stages=all" in more.arguments
    assert "--stages=all" not in plain.arguments
