"""What a run over frames tells of itself."""

from __future__ import annotations

import io
import sys
import time

import pytest

from mfs_edge.base import progress


@pytest.mark.parametrize(
    ("done", "total", "rate", "said"),
    [
        (30, 300, 24.8, "30/300, 24.8 frames/s, 11 s left"),
        (300, 300, 10.0, "300/300, 10.0 frames/s, 0 s left"),
        (310, 300, 10.0, "310/300, 10.0 frames/s, 0 s left"),
        (7, None, 3.5, "7, 3.5 frames/s"),
        (1, 300, 0.0, "1/300, 0.0 frames/s"),
    ],
)
def test_a_pace(done: int, total: int | None, rate: float, said: str) -> None:
    assert progress.paced(done, total, rate) == said


@pytest.mark.parametrize("first", [1, 6001])
def test_a_stream_ends_with_its_own_frames_per_second(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """Also where the frames before the first were done by another run."""
    error = io.StringIO()
    monkeypatch.setattr(sys, "stderr", error)
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    steps = progress.Printed()
    with steps.streamed("swap") as tell:
        for done in range(first, first + 50):
            now += 0.5
            tell(done, None if first == 1 else 9000)
    assert "swap 25.00 s, 2.0 frames/s" in error.getvalue()
    assert "frames/s left" not in error.getvalue()
    assert len(error.getvalue().splitlines()) == 1


def test_what_is_recorded_takes_the_same_calls() -> None:
    steps = progress.Recorded()
    with steps.streamed("swap") as tell:
        tell(1, None)
    assert set(steps.seconds) == {"swap"}
