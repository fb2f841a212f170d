"""Budgets and the deterministic comparison: what fails, what is only told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mfs_edge.base.errors import InputError
from mfs_edge.measure import gate, results
from mfs_edge.measure.observed import Instructions
from mfs_edge.measure.results import Report
from tests.measure.conftest import entry

HASH = {"graph_hash": "b"}


def budget(tmp_path: Path, text: str) -> gate.Budget:
    path = tmp_path / "budget.toml"
    path.write_text(text)
    return gate.read_budget(path)


def test_a_budget_that_holds(tmp_path: Path) -> None:
    text = (
        "[default]\nparameters = 600_000\nmacs = 3e8\np50_ms = 11.0\npartitions = 1\nundelegated = 0\ntransposes = 0\n"
    )
    assert gate.check_budget(budget(tmp_path, text), [entry()]) == gate.Found()


def test_one_cause_per_limit(tmp_path: Path) -> None:
    found = gate.check_budget(
        budget(tmp_path, "[default]\nparameters = 499_999\np50_ms = 10.9\nmacs = 1e12\n"), [entry()]
    )
    assert found.causes == (
        "idn.tflite on local: parameters 500,000 is over its budget of 499,999",
        "idn.tflite on local: p50_ms 11 is over its budget of 10.9",
    )


def test_patterns_come_before_the_default(tmp_path: Path) -> None:
    limits = budget(tmp_path, '[default]\nbytes = 1\n["*.tflite"]\nbytes = 9_000_000\n["*.onnx"]\nbytes = 2\n')
    found = gate.check_budget(limits, [entry()])
    assert found.causes == ()
    assert found.notes == (f"{limits.path}: no artefact is called *.onnx",)


def test_a_budget_for_what_is_not_known_is_told(tmp_path: Path) -> None:
    found = gate.check_budget(budget(tmp_path, "[default]\ninstructions = 5\n"), [entry()])
    assert found.causes == ()
    assert "instructions has a budget, but is not known here" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[default]\nmax = 3\n", r"budget\.toml: max is no budget; there are parameters"),
        ("macs = 3\n", r"macs stands outside a table; put it under \[default\]"),
        ('[default]\nmacs = "many"\n', "macs is not a number"),
        ("[default]\nmacs = -1\n", "macs is not a number"),
        ("[default]\nmacs = true\n", "macs is not a number"),
        ("[default\n", "is not valid TOML"),
    ],
)
def test_budgets_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        budget(tmp_path, text)


def test_a_missing_budget(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        gate.read_budget(tmp_path / "none.toml")


def test_the_same_is_no_difference() -> None:
    for snapshot in (True, False):
        assert gate.compare(entry(), entry(), snapshot=snapshot) == gate.Found()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"macs": 300_000_001}, "macs 300,000,001, was 300,000,000"),
        ({"parameters": 500_001}, "parameters 500,001, was 500,000"),
        ({"bytes": 2_100_000}, "bytes 2,100,000, was 2,000,000 (+5 %)"),
        ({"transposes": 2}, "transposes 2, was 0"),
        ({"delegated": 3, "outside": ("PADV2",)}, "undelegated 1 (PADV2), was 0"),
        ({"partitions": 3}, "partitions 3, was 1 (+2e+02 %)"),
        ({"peak_activation_bytes": 13_000_001}, "peak_activation_bytes 13,000,001, was 13,000,000"),
        ({"operators": {"CONV_2D": 3, "ADD": 2}}, "more operators (+1 ADD)"),
    ],
)
@pytest.mark.parametrize("snapshot", [True, False])
def test_what_got_worse_fails(change: dict[str, Any], words: str, snapshot: bool) -> None:
    causes = gate.compare(entry(**change), entry(), snapshot=snapshot).causes
    assert len(causes) == 1
    assert words in causes[0]
    assert causes[0].startswith("idn.tflite on local: ")


def test_a_digit_more_in_the_metadata_passes() -> None:
    assert gate.compare(entry(bytes=2_000_010), entry(), snapshot=True) == gate.Found()


def test_an_improvement_passes_and_is_told() -> None:
    better = entry(macs=200_000_000, operators={"CONV_2D": 3}, **HASH)
    found = gate.compare(better, entry(), snapshot=False)
    assert found.causes == ()
    assert found.notes == ("idn.tflite: the graph has changed (-1 ADD)",)


def test_any_change_of_the_graph_needs_a_new_snapshot() -> None:
    found = gate.compare(entry(**HASH), entry(), snapshot=True)
    assert len(found.causes) == 1
    assert "same operators, other shapes or attributes" in found.causes[0]
    assert "record the baseline anew with --json" in found.causes[0]


def test_instructions_have_a_tolerance() -> None:
    def counted(median: float) -> results.Entry:
        made = entry()
        counts = Instructions(cpu="neoverse-n1", median=median, spread=0.0, samples=(median,))
        return made.model_copy(update={"observation": made.observation.model_copy(update={"instructions": counts})})

    assert gate.compare(counted(1.019e8), counted(1e8), snapshot=True).causes == ()
    assert "instructions 103,000,000" in gate.compare(counted(1.03e8), counted(1e8), snapshot=True).causes[0]


def test_what_is_no_longer_known_is_told() -> None:
    found = gate.compare(entry(macs=None), entry(), snapshot=False)
    assert found.causes == ()
    assert found.notes == ("idn.tflite on local: macs can no longer be told, was 300,000,000",)


def test_stored_timings_are_a_trend_and_decide_nothing(tmp_path: Path) -> None:
    stored = Report(
        versions={}, entries=(entry(samples_ms=[1.0, 1.0, 1.0]), entry(device="ssh:pi@a", samples_ms=[2.0]))
    )
    found, trends = gate.check_baseline(stored, tmp_path, [entry(), entry(device="ssh:pi@a", threads=2)])
    assert found == gate.Found()
    assert [(t.stored_ms, t.now_ms, t.same_machine) for t in trends] == [(1.0, 11.0, True), (2.0, 11.0, False)]


def test_a_baseline_of_other_artefacts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds other\.onnx, none of what was measured"):
        gate.check_baseline(Report(versions={}, entries=(entry(file="other.onnx"),)), tmp_path / "b.json", [entry()])


def test_an_artefact_without_baseline_is_told(tmp_path: Path) -> None:
    stored = Report(versions={}, entries=(entry(),))
    found, _ = gate.check_baseline(stored, tmp_path / "b.json", [entry(), entry(file="new.onnx")])
    assert found.causes == ()
    assert "has no new.onnx" in found.notes[0]


@pytest.mark.parametrize(("text", "value"), [("10%", 10), ("2.5 %", 2.5), (5, 5), ("7", 7)])
def test_percentages(text: str | float, value: float) -> None:
    assert gate.percentage(text) == value


@pytest.mark.parametrize("text", ["ten", "-5%", "0", "nan", ""])
def test_percentages_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="--max-regression"):
        gate.percentage(text)
