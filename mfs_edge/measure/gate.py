"""What must not grow: budgets, and the deterministic part of the regression gate.

Everything here is exact and repeatable, on any machine: no timing decides anything, except
a budget that names one.
"""

from __future__ import annotations

import fnmatch
import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from mfs_edge.base import text
from mfs_edge.base.errors import InputError
from mfs_edge.measure import whole
from mfs_edge.measure.results import Entry, Report, Trend
from mfs_edge.swap import stages

# A version number in a file's metadata may grow by a digit; weights do not hide in this.
BYTES_SLACK = 512
INSTRUCTIONS_SLACK = 0.02  # an emulated count repeats to about 1 %
_DEFAULT = "default"
_PERCENT = "%"


def _of(part: str, *names: str) -> dict[str, Callable[[Entry], float | None]]:
    """Fields of a part of an entry; None where a device does not find that part out."""

    def reading(name: str) -> Callable[[Entry], float | None]:
        return lambda entry: None if (held := attrgetter(part)(entry)) is None else getattr(held, name)

    return {name: reading(name) for name in names}


def _stage(name: str) -> Callable[[Entry], float | None]:
    """Of whole frames, the median of one stage; None where it was not among those that were chosen."""
    return lambda entry: entry.observation.frame.ms(name) if entry.observation.frame else None


# Everything that a budget can name; a larger value is worse.
METRICS: dict[str, Callable[[Entry], float | None]] = {
    **_of("facts", "parameters", "macs", "added_macs", "flops", "paper", "bytes"),
    "operators": lambda entry: sum(entry.facts.operators.values()) if entry.facts.operators else None,
    **_of("facts", "transposes", "peak_activation_bytes"),
    **_of("observation.coverage", "undelegated", "partitions"),
    "instructions": _of("observation.instructions", "median")["median"],
    **_of("observation", "peak_rss_bytes"),
    **{f"{stage}_ms": _stage(stage) for stage in stages.ORDER},
    **_of("observation.latency", "load_ms", "first_ms", "p50_ms", "p90_ms", "p99_ms", "mean_ms"),
}
# What to say where one of them was not measured.
_STAGES = {
    f"{stage}_ms": "; time it with --frame WxH" + ("" if stage in whole.STAGES else " --stages all")
    for stage in stages.ORDER
}
# Of those, what repeats exactly, and by how much it may still grow.
EXACT: dict[str, Callable[[float], float]] = {
    **dict.fromkeys(("macs", "added_macs", "parameters"), lambda base: 0.0),
    "bytes": lambda base: BYTES_SLACK,
    **dict.fromkeys(("transposes", "undelegated", "partitions", "peak_activation_bytes"), lambda base: 0.0),
    "instructions": lambda base: base * INSTRUCTIONS_SLACK,
}


@dataclass(frozen=True)
class Found:
    """Why the run fails, and what the user should know besides."""

    causes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Found) -> Found:
        return Found(self.causes + other.causes, self.notes + other.notes)


@dataclass(frozen=True)
class Budget:
    """Limits by file-name pattern; ``default`` holds for every artefact."""

    path: Path
    limits: dict[str, dict[str, float]] = field(default_factory=dict)

    def of(self, file: str) -> dict[str, float]:
        """The limits of one artefact; a pattern's come before the default's."""
        found = dict(self.limits.get(_DEFAULT, {}))
        for pattern, limits in self.limits.items():
            if pattern != _DEFAULT and fnmatch.fnmatchcase(file, pattern):
                found |= limits
        return found


def read_budget(path: Path) -> Budget:
    """A TOML file of tables, each a pattern of file names and its limits::

        [default]
        parameters = 600_000
        ["*-int8.tflite"]
        bytes = 700_000
        p50_ms = 12.5

    Raises:
        InputError: it is missing or damaged, or names what cannot be measured.
    """
    try:
        tables = tomllib.loads(text.read(path, "budget (--budget is a TOML file)"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is one; so is a number of 5,000 digits
        raise InputError(f"{path}: is not valid TOML ({error}); correct it") from error
    for pattern, limits in tables.items():
        if not isinstance(limits, dict):
            raise InputError(f"{path}: {pattern} stands outside a table; put it under [{_DEFAULT}]")
        for name, limit in limits.items():
            if name not in METRICS:
                raise InputError(f"{path}: {name} is no budget; there are {', '.join(METRICS)}")
            if not isinstance(limit, int | float) or isinstance(limit, bool) or not limit >= 0:
                raise InputError(f"{path}: {name} is not a number of at least 0; correct it")
    return Budget(path, tables)


def check_budget(budget: Budget, entries: Sequence[Entry]) -> Found:
    """One cause per limit exceeded, one note per limit that nothing was compared with."""
    found = sum((_over_budget(budget, entry) for entry in entries), Found())
    unused = [
        p for p in budget.limits if p != _DEFAULT and not any(fnmatch.fnmatchcase(e.facts.file, p) for e in entries)
    ]
    return found + Found(notes=tuple(f"{budget.path}: no artefact is called {pattern}" for pattern in unused))


def _over_budget(budget: Budget, entry: Entry) -> Found:
    causes, notes = [], []
    for name, limit in budget.of(entry.facts.file).items():
        value = METRICS[name](entry)
        if value is None:
            known = f"{name} has a budget, but is not known here{_STAGES.get(name, '')}"
            notes.append(f"{entry.facts.file} on {entry.device}: {known}")
        elif value > limit:
            causes.append(
                f"{entry.facts.file} on {entry.device}: {name} {show(value)} is over its budget of {show(limit)}"
            )
    return Found(tuple(causes), tuple(notes))


def compare(now: Entry, base: Entry, *, snapshot: bool) -> Found:
    """The deterministic comparison of two entries.

    Args:
        snapshot: ``base`` is a stored baseline, recorded anew with every intended change, so
            that any change of the graph fails. Without it (two files of one run) only what
            got worse does.
    """
    file = now.facts.file
    worse, lost = _grown(now, base)
    causes = [f"{file} on {now.device}: {line}" for line in worse]
    notes = [f"{file} on {now.device}: {line}" for line in lost]
    if None not in (now.facts.graph_hash, base.facts.graph_hash) and now.facts.graph_hash != base.facts.graph_hash:
        changed = f"{file}: the graph has changed ({_difference(now, base)})"
        if snapshot and not worse:
            causes.append(f"{changed}; if that is meant, record the baseline anew with --json")
        else:
            notes.append(changed)
    return Found(tuple(causes), tuple(notes))


def _grown(now: Entry, base: Entry) -> tuple[list[str], list[str]]:
    """What costs more than before, and what can no longer be told."""
    worse, lost = [], []
    for name, slack in EXACT.items():
        value, before = METRICS[name](now), METRICS[name](base)
        if before is None:
            continue
        if value is None:
            lost.append(f"{name} can no longer be told, was {show(before)}")
        elif value > before + slack(before):
            outside = now.observation.coverage.outside if name == "undelegated" and now.observation.coverage else ()
            which = f" ({', '.join(sorted(set(outside)))})" if outside else ""
            worse.append(f"{name} {show(value)}{which}, was {show(before)}{_relative(value, before)}")
    # One kind of operator replaced by another is a change, not a loss.
    if sum(now.facts.operators.values()) > sum(base.facts.operators.values()) > 0:
        worse.append(f"more operators ({_difference(now, base)})")
    return worse, lost


def _difference(now: Entry, base: Entry) -> str:
    mine, theirs = now.facts.operators, base.facts.operators
    changes = {kind: mine.get(kind, 0) - theirs.get(kind, 0) for kind in sorted({*mine, *theirs})}
    told = ", ".join(f"{delta:+d} {kind}" for kind, delta in changes.items() if delta)
    return told or "same operators, other shapes or attributes"


def _relative(value: float, before: float) -> str:
    return f" ({(value / before - 1) * 100:+.2g} %)" if before else ""


def show(value: float) -> str:
    """1,234,567 or 12.5."""
    return f"{value:,.0f}" if value == math.floor(value) and abs(value) < 1e15 else f"{value:,.4g}"


def check_baseline(report: Report, path: Path, entries: Sequence[Entry]) -> tuple[Found, tuple[Trend, ...]]:
    """Against a stored report: the exact part decides, timings are shown as trend.

    Raises:
        InputError: it holds none of these artefacts, so nothing would be compared.
    """
    pairs = [(entry, stored) for entry in entries if (stored := _stored(report, entry)) is not None]
    if entries and not pairs:
        held = ", ".join(sorted({entry.facts.file for entry in report.entries})) or "nothing"
        raise InputError(f"{path}: holds {held}, none of what was measured; record a baseline with --json {path}")
    missing = {entry.facts.file for entry in entries} - {entry.facts.file for entry, _ in pairs}
    found = sum((_against(entry, stored, path) for entry, stored in pairs), Found())
    notes = tuple(f"{path}: has no {file}; record it anew with --json" for file in sorted(missing))
    return found + Found(notes=notes), tuple(filter(None, (_trend(e, s) for e, s in pairs)))


def _against(now: Entry, stored: Entry, path: Path) -> Found:
    """Refused, not compared, where another runtime or CPU ran the instructions that were counted."""
    mine, theirs = _counted_by(now), _counted_by(stored)
    if mine and theirs and mine != theirs:
        what = f"{now.facts.file} on {now.device} was counted by {theirs}, now by {mine}"
        return Found((f"{path}: {what}; record it anew with --json",))
    return compare(now, stored, snapshot=True)


def _counted_by(entry: Entry) -> str | None:
    """What a count of instructions depends on besides the artefact."""
    seen = entry.observation
    if seen.instructions is None:
        return None
    return f"{seen.machine.runtime} {seen.machine.runtime_version} on {seen.instructions.cpu}"


def _stored(report: Report, entry: Entry) -> Entry | None:
    """The stored entry of the same file, of the same kind of frames and on the same device where there are several."""
    same = [stored for stored in report.entries if stored.facts.file == entry.facts.file]
    same.sort(key=lambda stored: _kind(stored) != _kind(entry))
    return next((stored for stored in same if stored.device == entry.device), same[0] if same else None)


def _trend(now: Entry, stored: Entry) -> Trend | None:
    """None where one is of whole frames and the other of crops, or of other frames or stages."""
    kind = _kind(now)
    if kind != _kind(stored):
        return None
    if now.observation.latency is None or stored.observation.latency is None or now.device != stored.device:
        return None
    return Trend(
        device=now.device,
        file=now.facts.file,
        stored_ms=stored.observation.latency.typical_ms,
        now_ms=now.observation.latency.typical_ms,
        same_machine=now.machine_key == stored.machine_key,
        frame=kind,
    )


def _kind(entry: Entry) -> str:
    return entry.observation.frame.kind if entry.observation.frame else ""


def percentage(text: str | float) -> float:
    """``"10%"`` or ``10``, in per cent.

    Raises:
        InputError: it is not a percentage above 0.
    """
    try:
        value = float(str(text).strip().removesuffix(_PERCENT))
    except ValueError as error:
        raise InputError(f"--max-regression {text}: is not a percentage; write it like 10%") from error
    if not 0 < value < 1000:
        raise InputError(f"--max-regression {text}: must be above 0 %; write it like 10%")
    return value
