"""Counts held against what was recorded: by ``bench --baseline``, and by CI's own program."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from mfs_edge.targets.tflite import TfliteTarget

from benchmarks import emulated as program
from mfs_edge.base.errors import CheckFailed
from mfs_edge.emulation.boards import BOARDS
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.measure import results, run
from mfs_edge.target import EmitOptions
from tests.measure import plant

pytestmark = pytest.mark.emulated

SIZE = 64
DEVICES = tuple(f"emulated:{name}" for name in BOARDS)


@pytest.fixture(scope="module")
def before(artefacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with idn.tflite, and what both boards say of it in baseline.json."""
    folder = tmp_path_factory.mktemp("before")
    shutil.copy(artefacts / "idn.tflite", folder)
    found = run.bench(folder / "idn.tflite", device=DEVICES, json=folder / "baseline.json", time=False)
    assert found.passed
    return folder


@pytest.fixture(scope="module")
def worse(demo_folded: FoldedIDN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with two redundant pointwise convolutions, under the same name."""
    path = tmp_path_factory.mktemp("worse") / "idn.tflite"
    graph = passes.optimise(build.build(demo_folded.weights(), size=SIZE), level=1)
    wasteful = plant.redundant_pointwise(graph, "tflite")
    TfliteTarget().emit(wasteful, path, EmitOptions())
    return path


@pytest.fixture
def baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where CI's program looks, and nothing there yet."""
    monkeypatch.setattr(program, "BASELINE", tmp_path / "emulated.json")
    return tmp_path / "emulated.json"


def test_more_instructions_fail_bench_on_every_cpu(before: Path, worse: Path) -> None:
    found = run.bench(worse, device=DEVICES, baseline=before / "baseline.json", time=False)
    grown = [cause for cause in found.causes if re.search(r"instructions [\d,]+, was", cause)]
    assert [cause.split(": ")[0] for cause in grown] == [f"idn.tflite on {name}" for name in DEVICES]


def test_the_same_file_passes_bench(before: Path) -> None:
    found = run.bench(before / "idn.tflite", device=DEVICES[:1], baseline=before / "baseline.json", time=False)
    assert found.passed
    assert not found.causes


def test_a_baseline_holds_no_time(before: Path) -> None:
    def numbers(value: object, name: str = "") -> list[str]:
        if isinstance(value, dict):
            return [found for key, each in value.items() for found in numbers(each, key)]
        if isinstance(value, list):
            return [found for each in value for found in numbers(each, name)]
        return [name] if isinstance(value, int | float) else []

    stored = json.loads((before / "baseline.json").read_text())
    assert len(stored["entries"]) == len(BOARDS)
    named = set(numbers(stored["entries"]))
    assert "median" in named
    assert not [name for name in named if re.search(r"(^|_)(m?s|seconds|fps|time)$", name)]


def test_what_is_recorded_is_then_compared_with(
    before: Path, worse: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program.measure([before / "idn.tflite"], ["rpi5"], record=True)
    assert baseline.exists()
    program.measure([before / "idn.tflite"], ["rpi5"])
    assert capsys.readouterr().out.count(program.emulated.MEANING) == 2, "said once by each"
    with pytest.raises(CheckFailed):
        program.measure([worse], ["rpi5"])
    said = capsys.readouterr()
    assert re.search(r"idn\.tflite on emulated:rpi5: instructions [\d,]+, was", said.err)
    assert re.search(r"idn\.tflite on emulated:rpi5: \+\d\.\d\d % against the baseline", said.out)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(program.main, list(arguments))


def test_no_baseline_is_told_before_anything_is_measured(baseline: Path) -> None:
    found = invoke()
    assert found.exit_code == 2
    assert (
        found.stderr == f"error: {baseline}: no such file; give the path of the bench result (--json FILE writes one)\n"
    )


@pytest.mark.parametrize(("text", "said"), [("{}", "Field required"), ("no JSON", "Invalid JSON")])
def test_a_baseline_of_another_version_is_told_before_anything_is_measured(
    baseline: Path, text: str, said: str
) -> None:
    baseline.write_text(text)
    found = invoke()
    assert found.exit_code == 2
    assert said in found.stderr
    assert "record it again" in found.stderr
    assert found.stderr.count("\n") == 1


def test_a_board_alone_is_not_recorded(baseline: Path) -> None:
    found = invoke("--record", "--board", "rpi5")
    assert found.exit_code == 2
    assert "every board" in found.stderr
    assert not baseline.exists()


def test_an_artefact_that_was_never_recorded_fails(
    before: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = results.load(before / "baseline.json")
    stored.model_copy(update={"entries": stored.entries[1:]}).save(baseline)
    with pytest.raises(CheckFailed, match=r"has no idn\.tflite on emulated:rpi5; record it anew"):
        program.measure([before / "idn.tflite"], ["rpi5"])
