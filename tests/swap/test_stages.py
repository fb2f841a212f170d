"""Times add up, per frame and as shares."""

from __future__ import annotations

import pytest

from mfs_edge.swap.stages import ORDER, Stages


def test_shares_and_milliseconds_of_a_frame() -> None:
    stages = Stages()
    stages.add({"network": 30.0, "paste": 10.0})
    stages.frames = 2
    rows = {row.stage: row for row in stages.rows}
    assert tuple(rows) == ORDER
    assert (rows["network"].ms, rows["network"].share) == (pytest.approx(15), pytest.approx(0.75))
    assert rows["decode"].ms == 0
    told = stages.as_json()
    assert told["frames"] == 2
    assert sum(row["share"] for row in told["stages"]) == pytest.approx(1)


def test_two_runs_are_one() -> None:
    first, second = Stages(), Stages()
    for stages in (first, second):
        stages.add({"align": 4.0})
        stages.frames = 2
    first.merge(second)
    assert (first.frames, first.rows[2].ms) == (4, pytest.approx(2))


def test_what_fails_has_taken_its_time() -> None:
    stages = Stages()
    with pytest.raises(KeyError), stages.timed("encode"):
        raise KeyError
    assert stages.seconds["encode"] > 0


def test_nothing_is_no_division_by_zero() -> None:
    assert all((row.ms, row.share) == (0, 0) for row in Stages().rows)
