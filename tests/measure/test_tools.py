"""What a phone's benchmark tool printed, where the log is garbled: no figures rather than wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfs_edge.measure.devices import tools

TRANSCRIPTS = Path(__file__).parent / "transcripts"
LITERT, ORT = "benchmark_model-2023.txt", "onnxruntime_perf_test-2024.csv"


def parsed(name: str, *changes: tuple[str, str]) -> tools.Reading | None:
    text = (TRANSCRIPTS / name).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return tools.find(name).parse(text.splitlines())


@pytest.mark.parametrize("name", [LITERT, ORT])
def test_whole_logs_are_read(name: str) -> None:
    found = parsed(name)
    assert found is not None
    assert found.latency.mean_ms > 0


@pytest.mark.parametrize("average", ["0", "0.0", "1e999", "2.2.9", "-", ""])
def test_an_average_that_no_clock_gives(average: str) -> None:
    assert parsed(LITERT, ("avg=", f"avg={average} was=")) is None


def test_a_count_that_is_none() -> None:
    assert parsed(LITERT, ("count=", "count=1e999 was=")) is None
    assert parsed(LITERT, ("count=", "count=.. was=")) is None


@pytest.mark.parametrize("seconds", ["0/0958204", "x", "", "inf", "nan", "1e999"])
def test_seconds_of_a_frame_that_broke(seconds: str) -> None:
    first = (TRANSCRIPTS / ORT).read_text().splitlines()[0].rsplit(",", 4)[1]
    assert parsed(ORT, (first, seconds)) is None
