"""Reports survive a round trip, refuse what they do not know, and render without breaking."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfs_edge.base.errors import InputError
from mfs_edge.measure import history, page, results, summary
from mfs_edge.measure.observed import Latency, Layer
from mfs_edge.measure.results import Comparison, Interval, Report, Trend
from tests.measure.conftest import entry


def report(**changes: Any) -> Report:
    comparison = Comparison(
        device="local",
        head="a|b.onnx",
        base="base.onnx",
        verdict="slower",
        pairs=8,
        max_regression=10.0,
        change=Interval(estimate=15.0, low=13.0, high=17.0),
        control=Interval(estimate=0.0, low=-1.0, high=1.0),
        difference_ms=1.5,
        head_p50_ms=(11.5,) * 8,
        base_p50_ms=(10.0,) * 8,
        control_p50_ms=(10.1,) * 8,
    )
    made = entry(file="<idn>.onnx")
    layers = tuple(Layer(name=f"conv<{i}>", kind="Conv", ms=i + 0.5) for i in range(60))
    made = made.model_copy(update={"observation": made.observation.model_copy(update={"layers": layers})})
    trend = Trend(device="local", file="idn.onnx", stored_ms=1.0, now_ms=2.0, same_machine=False)
    given = {"versions": {"mfs-edge": "0"}, "entries": (made,), "comparisons": (comparison,), "trends": (trend,)}
    return Report(**{**given, **changes})


def test_round_trip_keeps_every_sample(tmp_path: Path) -> None:
    written = report()
    written.save(tmp_path / "r.json")
    found = results.load(tmp_path / "r.json")
    assert found == written
    assert found.entries[0].observation.latency is not None
    assert found.entries[0].observation.latency.samples_ms == (10.0, 11.0, 12.0)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_baseline_that_a_shell_or_an_editor_wrote_anew(tmp_path: Path, encoding: str) -> None:
    """PowerShell's ``>`` writes UTF-16, Notepad a byte order mark."""
    kept = report()
    (tmp_path / "base.json").write_bytes(kept.dumps().replace("\n", "\r\n").encode(encoding))
    assert results.load(tmp_path / "base.json") == kept


def test_percentiles_are_of_all_samples() -> None:
    samples = [1.0] * 98 + [50.0, 100.0]  # an outlier stays
    found = Latency.of(samples, load_ms=1.0, first_ms=2.0, warmup_runs=10)
    assert (found.min_ms, found.p50_ms, found.runs) == (1.0, 1.0, 100)
    assert found.mean_ms == pytest.approx(np.mean(samples))
    assert found.std_ms == pytest.approx(np.std(samples))
    assert found.p99_ms == pytest.approx(np.percentile(samples, 99))
    assert found.fps == pytest.approx(1000 / np.mean(samples))


def change(content: dict[str, Any], what: str) -> dict[str, Any]:
    if what == "unknown key":
        content["surprise"] = 1
    elif what == "unknown key inside":
        content["entries"][0]["facts"]["surprise"] = 1
    elif what == "later version":
        content["schema_version"] = 2
    elif what == "missing key":
        del content["versions"]
    return content


@pytest.mark.parametrize("what", ["unknown key", "unknown key inside", "later version", "missing key"])
def test_what_it_does_not_know_is_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "r.json").write_text(json.dumps(change(json.loads(report().dumps()), what)))
    with pytest.raises(InputError, match=r"r\.json: is not a bench result of this version \(.+\); record it again"):
        results.load(tmp_path / "r.json")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"schema_version": 1}'])
def test_damaged_reports_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(InputError, match=r"r\.json"):
        results.load(tmp_path / "r.json")


def test_the_machine_key_tells_machines_apart() -> None:
    keys = {entry(threads=threads).machine_key for threads in (1, 2)} | {
        entry().observation.machine.model_copy(update=update).key
        for update in ({"cpu": "Another"}, {"governor": "powersave"}, {"runtime_version": "2.4.0"}, {"cpus": (1,)})
    }
    assert len(keys) == 6


def test_markdown_escapes_and_tells_everything() -> None:
    text = summary.render(report(causes=("a cause",), notes=("a note",), failures=("a device",)))
    assert "1 check failed" in text
    assert "- :x: a cause\n- :x: a device" in text
    assert "- a note" in text
    assert "a\\|b.onnx" in text
    assert "&lt;idn>.onnx" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    tables = [line.replace("\\|", "").count("|") for line in rows]
    assert len(rows) == 9
    assert tables == [14] * 3 + [9] * 3 + [6] * 3


def test_the_step_summary_is_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = tmp_path / "summary.md"
    where.write_text("before\n")
    summary.to_github(report())
    assert where.read_text() == "before\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(where))
    summary.to_github(report())
    assert where.read_text() == "before\n" + summary.render(report())


class Tags(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_stands_alone(tmp_path: Path) -> None:
    (tmp_path / "contact_sheet.png").write_bytes(b"\x89PNG picture")
    (tmp_path / "r.html").write_text(page.render(report(causes=("it is <slow>",)), [tmp_path]))
    parsed = Tags()
    text = (tmp_path / "r.html").read_text()
    parsed.feed(text)
    assert parsed.tags.count("svg") == 2  # a distribution, and the pairs
    assert [link[:22] for link in parsed.links] == ["data:image/png;base64,"]
    assert "script" not in parsed.tags
    assert "it is &lt;slow&gt;" in text
    assert "conv&lt;59&gt;" in text
    assert "20 shorter ones are left out" in text


def test_history_grows_by_a_line_per_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_SHA", "abc")
    for _ in range(2):
        history.append(report(), tmp_path / "h.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert lines[0]["p50_ms"] == 11.0
    assert lines[0]["commit"] == "abc"
    assert "samples_ms" not in lines[0]


def test_the_page_shows_the_folders_own_pictures_only(tmp_path: Path) -> None:
    (tmp_path / "in/folder.png").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "in/a.png").write_bytes(b"picture")
    (tmp_path / "in/b.png").symlink_to("../secret")
    (tmp_path / "in/c.png").symlink_to("a.png")
    assert [path.name for path, _ in page._pictures(tmp_path / "in")] == ["a.png", "c.png"]
