"""What ``bench`` records: typed, versioned, strict on load, raw samples kept.

Times are milliseconds, sizes bytes. Files are named by their hashes; no weight or identity is copied.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from mfs_edge.base import files, text
from mfs_edge.base.errors import InputError
from mfs_edge.measure.observed import Count, Observation, Record

SCHEMA: Literal[1] = 1


class Facts(Record):
    """What an artefact costs, counted from its file; None where the file does not tell."""

    file: str
    format: str
    sha256: str
    bytes: Count
    graph_hash: str | None = None  # topology, types and shapes; not the weights' values
    operators: dict[str, Count] = Field(default_factory=dict)
    parameters: Count | None = None
    macs: Count | None = None  # of the graph
    added_macs: Count | None = None  # by the form of its lowering
    flops: Count | None = None
    paper: Count | None = None  # MobileFaceSwap's own count
    transposes: Count | None = None
    peak_activation_bytes: Count | None = None
    precision: str | None = None  # from the bundle's manifest
    verification: str | None = None


class Entry(Record):
    """One artefact on one device."""

    device: str
    facts: Facts
    observation: Observation
    machine_key: str


class Interval(Record):
    """A figure with its bootstrap interval; of a ratio, the percentage change or the logarithm."""

    estimate: float
    low: float
    high: float


Verdict = Literal["ok", "faster", "slower", "inconclusive", "too noisy", "not timed"]


class Comparison(Record):
    """One artefact against another on one device: fresh processes, interleaved, paired."""

    device: str
    head: str
    base: str
    verdict: Verdict
    pairs: Count
    max_regression: float  # per cent
    change: Interval | None = None  # of p50, per cent
    control: Interval | None = None  # base against itself: the noise floor
    difference_ms: float | None = None  # median of the pairs
    head_p50_ms: tuple[float, ...] = ()  # of each pair
    base_p50_ms: tuple[float, ...] = ()
    control_p50_ms: tuple[float, ...] = ()
    machine_key: str | None = None
    seed: Count | None = None  # of the order
    causes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Trend(Record):
    """A stored timing beside today's, for the eye; nothing is decided from it."""

    device: str
    file: str
    stored_ms: float
    now_ms: float
    same_machine: bool
    frame: str = ""  # of whole frames, their kind, such as 1920x1080


class Report(Record):
    """Everything one run of ``bench`` found."""

    schema_version: Literal[1] = SCHEMA
    kind: Literal["mfs-edge bench"] = "mfs-edge bench"
    partial: bool = False  # interrupted, or a device failed
    versions: dict[str, str]
    entries: tuple[Entry, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    trends: tuple[Trend, ...] = ()
    causes: tuple[str, ...] = ()  # why the run fails; empty if it does not
    failures: tuple[str, ...] = ()  # devices that could not be used
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """No budget, regression or strictness was violated, and every device answered."""
        return not self.causes and not self.failures

    def dumps(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"

    def save(self, path: Path) -> None:
        """Write atomically.

        Raises:
            OutputError: it cannot be written.
        """
        files.write_text(path, self.dumps())


def load(path: Path) -> Report:
    """A report that :meth:`Report.save` wrote.

    Raises:
        InputError: it is missing, damaged, of another version, or has unknown keys.
    """
    what = "bench result (--json FILE writes one)"
    files.require_file(path, what)
    try:
        return Report.model_validate_json(text.read(path, what))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(
            f"{path}: is not a bench result of this version ({where}: {first['msg']}); record it again with --json"
        ) from error
