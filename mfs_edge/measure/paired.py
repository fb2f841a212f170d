"""Is one artefact slower than another? Fresh processes, interleaved in random order, paired.

A shared machine drifts by tens of per cent within minutes, so two figures are comparable only
if they were taken side by side. Every round runs head, base, and base once more (the A/A
control) in random order; a pair's evidence is the logarithm of the ratio of its two p50s. The
centre is a trimmed mean, its interval a bootstrap over pairs. Rounds are added while the
interval says neither yes nor no. The control goes through the same arithmetic: what it
claims of two identical files is the noise floor, and a machine on which that reaches the
threshold cannot judge.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.measure.devices import Device, Request, Watch
from mfs_edge.measure.observed import Observation
from mfs_edge.measure.results import Comparison, Interval, Verdict

RESAMPLES = 2000
CONFIDENCE = 0.95
TRIM = 0.2  # of each end: a neighbour's burst spoils a pair, not the verdict
_Z = 1.959964  # of the normal distribution at CONFIDENCE


@dataclass(frozen=True)
class Plan:
    """When to fail, and how long to look."""

    max_regression: float = 10.0  # per cent
    min_change_ms: float = 0.2  # below this nobody notices
    min_pairs: int = 8
    max_pairs: int = 40

    @property
    def threshold(self) -> float:
        """As the logarithm of a ratio."""
        return math.log1p(self.max_regression / 100)


@dataclass
class Pairs:
    """p50 in ms of every round."""

    head: list[float] = field(default_factory=list)
    base: list[float] = field(default_factory=list)
    control: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.head)


@dataclass(frozen=True)
class Decision:
    verdict: Verdict | None  # None: undecided, more pairs would help
    change: Interval  # logarithms of ratios
    control: Interval
    difference_ms: Interval


def trimmed_mean(values: np.ndarray) -> np.ndarray:
    """[..., N] -> [...]: over the last axis, without the TRIM lowest and highest."""
    cut = int(values.shape[-1] * TRIM)
    ordered = np.sort(values, axis=-1)
    kept: np.ndarray = ordered[..., cut : values.shape[-1] - cut].mean(axis=-1)
    return kept


def bootstrap(values: Sequence[float] | np.ndarray) -> Interval:
    """The trimmed mean of ``values`` [N], logarithms of ratios, with a percentile bootstrap interval.

    A bootstrap of few values is too narrow; it is widened as Student's t is over the normal
    distribution (and by n / (n - 1) for the variance), which restores its coverage.
    """
    sample = np.asarray(values, np.float64)
    count = len(sample)
    centre = float(trimmed_mean(sample))
    rng = np.random.default_rng(count)  # the same pairs always give the same verdict
    spread = trimmed_mean(sample[rng.integers(0, count, (RESAMPLES, count))])
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(v) for v in np.quantile(spread, (tail, 1 - tail)))
    wider = _student(count - 1) / _Z * math.sqrt(count / (count - 1))
    return Interval(estimate=centre, low=centre - wider * (centre - low), high=centre + wider * (high - centre))


def _student(freedom: int) -> float:
    """The t quantile at CONFIDENCE, by Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5)."""
    z = _Z
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def decide(pairs: Pairs, plan: Plan) -> Decision:
    """What the pairs so far say; at least three are needed."""
    head, base, control = (np.asarray(v, np.float64) for v in (pairs.head, pairs.base, pairs.control))
    change = bootstrap(np.log(head / base))
    noise = bootstrap(np.log(control / base))
    difference = bootstrap(head - base)
    return Decision(_verdict(change, noise, difference, len(pairs), plan), change, noise, difference)


def _verdict(change: Interval, noise: Interval, difference: Interval, count: int, plan: Plan) -> Verdict | None:
    threshold = plan.threshold
    if count < plan.min_pairs:
        return None
    if noise.low <= -threshold or noise.high >= threshold:
        return None if count < plan.max_pairs else "too noisy"
    if change.low > threshold and difference.low > plan.min_change_ms:
        return "slower"
    if change.high <= threshold or difference.high <= plan.min_change_ms:
        return "faster" if change.high < min(0.0, noise.low) else "ok"
    return None if count < plan.max_pairs else "inconclusive"


@dataclass(frozen=True)
class Outcome:
    """A comparison, and what the processes said besides their times."""

    comparison: Comparison
    head: Observation
    base: Observation


def compare(device: Device, *, head: Path, base: Path, request: Request, plan: Plan, watch: Watch) -> Outcome:
    """Rounds on ``device`` until the pairs decide, or the cap.

    Raises:
        MfsEdgeError: the device failed.
        Cancelled: the user interrupted.
    """
    seed = secrets.randbits(32)
    rng = np.random.default_rng(seed)
    named: dict[str, Any] = {
        "device": device.name,
        "head": head.name,
        "base": base.name,
        "max_regression": plan.max_regression,
    }
    seen: dict[str, Observation] = {}
    pairs = Pairs()
    jobs = (("head", head, pairs.head), ("base", base, pairs.base), ("control", base, pairs.control))
    decision: Decision | None = None
    while decision is None or decision.verdict is None:
        for place, index in enumerate(rng.permutation(len(jobs))):
            role, path, times = jobs[index]
            seen[role] = device.measure(path, request.quick(), _part(watch, len(pairs), place, plan))
            latency = seen[role].latency
            if latency is None:
                only = "this device tells no time; only the deterministic part decides"
                untimed = Comparison(verdict="not timed", pairs=0, notes=(only,), **named)
                mine = seen.get("head") or device.measure(head, request.quick(), watch)
                theirs = seen.get("base") or seen.get("control") or device.measure(base, request.quick(), watch)
                return Outcome(untimed, mine, theirs)
            times.append(latency.typical_ms)
        if len(pairs) >= plan.min_pairs:
            decision = decide(pairs, plan)
    comparison = Comparison(
        **named,
        **_told(f"{head.name} on {device.name}", base.name, decision, len(pairs), plan),
        head_p50_ms=tuple(pairs.head),
        base_p50_ms=tuple(pairs.base),
        control_p50_ms=tuple(pairs.control),
        pairs=len(pairs),
        machine_key=seen["head"].machine.key,
        seed=seed,
    )
    return Outcome(comparison, seen["head"], seen["base"])


def _part(watch: Watch, done: int, place: int, plan: Plan) -> Watch:
    """Progress of one process as progress of the whole: of the least number of rounds, then of the most."""
    expected = plan.min_pairs if done < plan.min_pairs else plan.max_pairs

    def tell(share: float, left_s: float) -> None:
        rounds = done + (place + share) / 3
        each = left_s / max(1e-3, 1 - share)
        watch.tell(rounds / expected, (expected - rounds) * 3 * each)

    return Watch(tell=tell, cancelled=watch.cancelled)


def _told(where: str, base: str, decision: Decision, count: int, plan: Plan) -> dict[str, Any]:
    """The verdict as fields of a comparison, with its cause or note."""
    verdict = decision.verdict or "inconclusive"
    change, noise = _per_cent(decision.change), _per_cent(decision.control)
    difference = decision.difference_ms.estimate
    interval = f"p50 {change.estimate:+.1f} % [{change.low:+.1f}, {change.high:+.1f}]"
    allowed = f"allowed is {plan.max_regression:g} %"
    lines = {
        "slower": f"{interval} ({difference:+.2f} ms) against {base}, {allowed}",
        "inconclusive": f"inconclusive after {count} pairs: {interval}, {allowed}",
        "too noisy": f"this machine is too noisy to judge time (base against itself: {noise.low:+.1f} .. "
        f"{noise.high:+.1f} %); only the deterministic part decides",
    }
    told = tuple(f"{where}: {line}" for kind, line in lines.items() if kind == verdict)
    found: dict[str, Any] = {"verdict": verdict, "change": change, "control": noise, "difference_ms": difference}
    return found | {"causes" if verdict == "slower" else "notes": told}


def _per_cent(ratio: Interval) -> Interval:
    return Interval(**{name: math.expm1(value) * 100 for name, value in ratio})
