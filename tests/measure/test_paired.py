"""The statistics, on noise whose truth is known; the loop, on a device that makes such noise and on the real one."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from mfs_edge.measure import paired
from mfs_edge.measure.devices import Request, Watch
from mfs_edge.measure.devices.local import LocalDevice
from mfs_edge.measure.observed import Latency, Machine, Observation
from mfs_edge.measure.paired import Pairs, Plan

MACHINE = Machine(cpu="noise", cores=2, os="none", runtime="none", runtime_version="0", threads=1)


class NoisyDevice:
    """Frames of a known length, disturbed as a shared machine disturbs them.

    Every process has its own factor (placement, caches), the machine drifts by tens of per
    cent, and now and then a neighbour doubles the time of a whole process.
    """

    name = host = "noisy"

    def __init__(self, truth: dict[str, float], *, spread: float, seed: int) -> None:
        self.truth = truth
        self.spread = spread
        self.rng = np.random.default_rng(seed)
        self.ran: list[str] = []

    def check(self) -> None:
        """It is there."""

    def refuses(self, artefact: Path) -> str | None:
        return None

    def measure(self, artefact: Path, request: Request, watch: Watch) -> Observation:
        self.ran.append(artefact.name)
        drift = 1 + 0.3 * math.sin(len(self.ran) / 20)
        factor = math.exp(self.rng.normal(0, self.spread)) * (2 if self.rng.random() < 0.04 else 1)
        frames = self.truth[artefact.name] * drift * factor * (1 + self.rng.exponential(0.02, 30))
        latency = Latency.of(list(frames), load_ms=1.0, first_ms=1.0, warmup_runs=1)
        return Observation(machine=MACHINE, latency=latency)


def verdict(head_ms: float, *, spread: float, seed: int) -> str:
    device = NoisyDevice({"head": head_ms, "base": 10.0}, spread=spread, seed=seed)
    outcome = paired.compare(
        device, head=Path("head"), base=Path("base"), request=Request(), plan=Plan(), watch=Watch()
    )
    return outcome.comparison.verdict


def test_no_false_alarm_in_thirty() -> None:
    found = [verdict(10.0, spread=0.05, seed=seed) for seed in range(30)]
    assert found.count("slower") <= 1
    assert found.count("ok") + found.count("faster") >= 25


@pytest.mark.parametrize("spread", [0.01, 0.03])
def test_a_slowdown_of_a_fifth_is_always_caught(spread: float) -> None:
    assert [verdict(12.0, spread=spread, seed=seed) for seed in range(10)] == ["slower"] * 10


def test_fifteen_per_cent_is_always_caught_on_a_quiet_machine() -> None:
    assert [verdict(11.5, spread=0.015, seed=seed) for seed in range(10)] == ["slower"] * 10


def test_a_machine_that_disagrees_with_itself_does_not_judge() -> None:
    found = [verdict(11.5, spread=0.5, seed=seed) for seed in range(5)]
    assert found.count("too noisy") >= 4
    assert "slower" not in found


def test_at_the_threshold_it_is_inconclusive() -> None:
    found = [verdict(11.0, spread=0.04, seed=seed) for seed in range(5)]
    assert "inconclusive" in found


def test_what_nobody_notices_does_not_fail() -> None:
    device = NoisyDevice({"head": 0.3, "base": 0.2}, spread=0.01, seed=0)  # half as slow again, by 0.1 ms
    outcome = paired.compare(
        device, head=Path("head"), base=Path("base"), request=Request(), plan=Plan(), watch=Watch()
    )
    assert outcome.comparison.verdict == "ok"
    assert outcome.comparison.change is not None
    assert outcome.comparison.change.low > 10


def test_the_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    for count in (8, 16):
        bands = [paired.bootstrap(rng.normal(0, 1, count)) for _ in range(300)]
        assert sum(band.low <= 0 <= band.high for band in bands) >= 0.92 * len(bands)


def test_one_spoilt_pair_decides_nothing() -> None:
    times = [10.0, 10.1, 9.9, 10.0, 10.05, 9.95, 10.02, 10.0]
    pairs = Pairs(head=[40.0, *times[1:]], base=times, control=times[::-1])
    assert paired.decide(pairs, Plan()).verdict is None  # more pairs are asked for
    more = Pairs(head=[40.0, *times[1:], *times * 2], base=times * 3, control=times[::-1] * 3)
    assert paired.decide(more, Plan()).verdict == "ok"


def test_order_is_random_and_every_round_is_complete() -> None:
    device = NoisyDevice({"head": 10.0, "base": 10.0}, spread=0.01, seed=1)
    outcome = paired.compare(
        device, head=Path("head"), base=Path("base"), request=Request(), plan=Plan(), watch=Watch()
    )
    rounds = [tuple(device.ran[i : i + 3]) for i in range(0, len(device.ran), 3)]
    assert all(sorted(r) == ["base", "base", "head"] for r in rounds)
    assert len(set(rounds)) > 1
    assert len(rounds) == outcome.comparison.pairs == len(outcome.comparison.head_p50_ms) >= 8


def test_a_device_without_a_clock_is_not_timed() -> None:
    class Clockless(NoisyDevice):
        def measure(self, artefact: Path, request: Request, watch: Watch) -> Observation:
            return super().measure(artefact, request, watch).model_copy(update={"latency": None})

    device = Clockless({"head": 1.0, "base": 1.0}, spread=0.01, seed=0)  # the order is random
    outcome = paired.compare(
        device, head=Path("head"), base=Path("base"), request=Request(), plan=Plan(), watch=Watch()
    )
    assert outcome.comparison.verdict == "not timed"
    assert sorted(device.ran) == ["base", "head"]
    assert outcome.comparison.notes == ("this device tells no time; only the deterministic part decides",)


def test_on_this_machine(artefacts: Path, quick: Request, tmp_path: Path) -> None:
    """Real processes; what they say is not asserted, only that it is judged by the rules."""
    head = tmp_path / "head.onnx"
    shutil.copyfile(artefacts / "idn.onnx", head)
    plan = Plan(max_pairs=8)
    outcome = paired.compare(
        LocalDevice(), head=head, base=artefacts / "idn.onnx", request=quick, plan=plan, watch=Watch()
    )
    found = outcome.comparison
    pairs = Pairs(list(found.head_p50_ms), list(found.base_p50_ms), list(found.control_p50_ms))
    assert found.pairs == len(pairs) == 8
    assert found.verdict == paired.decide(pairs, plan).verdict
    assert min(*pairs.head, *pairs.base, *pairs.control) > 0
