"""What ``bench`` records: typed, versioned, strict on load, raw samples kept.

Times are milliseconds, sizes bytes. Files are named by their hashes; no weight or identity is copied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mfs_edge.base import files, text
from mfs_edge.base.errors import InputError

SCHEMA: Literal[1] = 1
UNSTEADY = 1.5  # mean over median: a few slow frames reach 1.2, a throttled phone 2.4


# Beyond it a float cannot hold an integer exactly, and far beyond it none at all: no device counts so far.
Count = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Machine(_Record):
    """What timings depend on besides the artefact; two timings are comparable if their keys are equal."""

    cpu: str
    cores: Count
    governor: str = ""  # of the CPU's clock; empty where the device does not tell
    os: str
    arch: str = ""
    python: str = ""
    runtime: str
    runtime_version: str
    threads: Count
    cpus: tuple[Count, ...] = ()  # that the process was bound to; empty if it was not
    quota: float | None = None  # CPUs' worth of time that a container grants; None without a limit

    @property
    def key(self) -> str:
        """One line that names everything above but the interpreter."""
        pinned = f"on CPUs {','.join(map(str, self.cpus))}" if self.cpus else ""
        granted = "" if self.quota is None else f"CPU quota {self.quota:g}"
        system = (self.cpu, f"{self.cores} cores", granted, self.governor, self.os, self.arch)
        return " | ".join(
            filter(None, (*system, f"{self.runtime} {self.runtime_version}", f"{self.threads} threads", pinned))
        )


class Latency(_Record):
    """One process: loading, the first frame, and the steady state after warm-up."""

    load_ms: float | None
    first_ms: float | None
    warmup_runs: Count | None
    runs: Count
    min_ms: float
    p50_ms: float | None  # None where a device's tool gives none
    p90_ms: float | None = None
    p99_ms: float | None = None
    mean_ms: float
    std_ms: float | None
    fps: float
    samples_ms: tuple[float, ...] = ()  # every frame, none left out; empty where the tool keeps them to itself

    @classmethod
    def of(
        cls, samples_ms: Sequence[float], *, load_ms: float | None, first_ms: float | None, warmup_runs: int | None
    ) -> Latency:
        """The figures of raw samples."""
        values = np.asarray(samples_ms, np.float64)
        p50, p90, p99 = (float(value) for value in np.percentile(values, (50, 90, 99)))
        return cls(
            load_ms=load_ms,
            first_ms=first_ms,
            warmup_runs=warmup_runs,
            runs=len(values),
            min_ms=float(values.min()),
            p50_ms=p50,
            p90_ms=p90,
            p99_ms=p99,
            mean_ms=float(values.mean()),
            std_ms=float(values.std()),
            fps=1000 / float(values.mean()),
            samples_ms=tuple(samples_ms),
        )

    @property
    def remark(self) -> str:
        """Empty, or why these times are no steady state: a clock that is throttled, or others at work."""
        if self.p50_ms is not None and self.mean_ms > UNSTEADY * self.p50_ms:
            seen = f"the mean is {self.mean_ms / self.p50_ms:.1f} times the median"
        elif self.p50_ms is None and self.std_ms is not None and self.std_ms > self.mean_ms / 2:
            seen = f"the times spread by {100 * self.std_ms / self.mean_ms:.0f} % of their mean"
        else:
            return ""
        return f"{seen}: it was throttled or busy; let it cool, stop what else runs, and measure again"

    @property
    def typical_ms(self) -> float:
        """p50, or the mean where the device's tool gives no median."""
        return self.mean_ms if self.p50_ms is None else self.p50_ms


class Instructions(_Record):
    """Guest instructions per frame on an emulated CPU; no measure of time."""

    cpu: str  # the emulated model
    median: float
    spread: float  # half the range of the samples, relative to the median
    samples: tuple[float, ...]


class Coverage(_Record):
    """What a runtime's delegate took of the graph."""

    delegate: str
    nodes: Count
    delegated: Count
    partitions: Count
    outside: tuple[str, ...] = ()
    warning: str = ""  # if so much fell out that the file is slow

    @property
    def undelegated(self) -> int:
        return self.nodes - self.delegated


class Layer(_Record):
    """One kernel of the runtime's own profile."""

    name: str
    kind: str
    ms: float  # per frame


class Picture(_Record):
    """What the timed session gave at the places of ``sample.probe``."""

    swapped: tuple[tuple[float, float, float], ...]
    mask: tuple[tuple[float], ...]


class Switches(_Record):
    """Identities of one base, set between two frames of one session."""

    switch_ms: float  # median, from the bytes in memory to a session that is ready
    first_ms: float  # median, of the first frame after it
    switches: Count
    switch_samples_ms: tuple[float, ...]
    first_samples_ms: tuple[float, ...]

    @classmethod
    def of(cls, switch_ms: Sequence[float], first_ms: Sequence[float]) -> Switches:
        """The figures of raw samples."""
        return cls(
            switch_ms=float(np.median(switch_ms)),
            first_ms=float(np.median(first_ms)),
            switches=len(switch_ms),
            switch_samples_ms=tuple(switch_ms),
            first_samples_ms=tuple(first_ms),
        )


Chosen = Literal["swap", "all"]  # stages of a whole frame: what a swap takes, or what a video takes


class FrameStage(_Record):
    """One stage of a whole frame."""

    stage: str
    ms: float  # median
    share: float  # 0..1 of the medians of all stages
    samples_ms: tuple[float, ...]  # every frame


class WholeFrame(_Record):
    """Frames of a camera's size with one face each, cut, swapped and pasted; the latency beside it is of all stages.

    Where all stages were chosen, they were decoded before, the face was found in them, and they were encoded.
    """

    width: Count
    height: Count
    chosen: Chosen = "swap"
    changed: Count  # pixels of a frame that the swap changed
    stages: tuple[FrameStage, ...]  # in the order in which a frame passes them
    searched: Count | None = None  # frames in which the face was searched for, and not followed; None: it was given

    @classmethod
    def of(
        cls,
        width: int,
        height: int,
        *,
        stages_ms: Mapping[str, Sequence[float]],
        changed: int,
        chosen: Chosen = "swap",
        searched: int | None = None,
    ) -> WholeFrame:
        """The figures of raw samples, by stage."""
        medians = {stage: float(np.median(samples)) for stage, samples in stages_ms.items()}
        total = sum(medians.values()) or 1.0
        stages = tuple(
            FrameStage(stage=stage, ms=ms, share=ms / total, samples_ms=tuple(stages_ms[stage]))
            for stage, ms in medians.items()
        )
        return cls(width=width, height=height, chosen=chosen, changed=changed, stages=stages, searched=searched)

    @property
    def remark(self) -> str:
        """Empty, or why the times are none of a swap."""
        if self.changed:
            return ""
        return "the network's mask shows nothing of the face in these frames, so that nothing was pasted"

    @property
    def size(self) -> str:
        """Such as 1920x1080."""
        return f"{self.width}x{self.height}"

    @property
    def kind(self) -> str:
        """What its times may be held against: the size, and whether all stages are in them."""
        return f"{self.size}, all stages" if self.chosen == "all" else self.size

    @property
    def sighting(self) -> str:
        """Empty, or how the face was found."""
        if self.searched is None:
            return ""
        frames = len(self.stages[0].samples_ms)
        searched = f", searched for in {self.searched}" if self.searched else ""
        return f"detect: the face was followed in {frames - self.searched} frames{searched}"

    def ms(self, stage: str) -> float | None:
        """The median of one stage."""
        return next((found.ms for found in self.stages if found.stage == stage), None)


class Observation(_Record):
    """What a device found out about one artefact."""

    machine: Machine
    latency: Latency | None = None
    frame: WholeFrame | None = None  # where whole frames were timed, and not crops
    switches: Switches | None = None  # where a pack was given, and the runtime can
    instructions: Instructions | None = None
    picture: Picture | None = None
    coverage: Coverage | None = None
    peak_rss_bytes: Count | None = None
    temperature_c: tuple[float | None, float | None] = (None, None)  # before, after
    layers: tuple[Layer, ...] = ()
    notes: tuple[str, ...] = ()


class Facts(_Record):
    """What an artefact costs, counted from its file; None where the file does not tell."""

    file: str
    format: str
    sha256: str
    bytes: Count
    graph_hash: str | None = None  # topology, types and shapes; not the weights' values
    operators: dict[str, Count] = {}
    parameters: Count | None = None
    macs: Count | None = None  # of the graph
    added_macs: Count | None = None  # by the form of its lowering
    flops: Count | None = None
    paper: Count | None = None  # MobileFaceSwap's own count
    transposes: Count | None = None
    peak_activation_bytes: Count | None = None
    precision: str | None = None  # from the bundle's manifest
    verification: str | None = None


class Entry(_Record):
    """One artefact on one device."""

    device: str
    facts: Facts
    observation: Observation
    machine_key: str


class Interval(_Record):
    """A figure with its bootstrap interval; of a ratio, the percentage change or the logarithm."""

    estimate: float
    low: float
    high: float


Verdict = Literal["ok", "faster", "slower", "inconclusive", "too noisy", "not timed"]


class Comparison(_Record):
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


class Trend(_Record):
    """A stored timing beside today's, for the eye; nothing is decided from it."""

    device: str
    file: str
    stored_ms: float
    now_ms: float
    same_machine: bool
    frame: str = ""  # of whole frames, their kind, such as 1920x1080


class Report(_Record):
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
