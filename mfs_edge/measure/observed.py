"""What a device finds out about one artefact: a part of what ``results.py`` records.

Times are milliseconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

UNSTEADY = 1.5  # mean over median: a few slow frames reach 1.2, a throttled phone 2.4

# Beyond it a float cannot hold an integer exactly, and far beyond it none at all: no device counts so far.
Count = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class Record(BaseModel):
    """Strict, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Machine(Record):
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


class Latency(Record):
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


class Instructions(Record):
    """Guest instructions per frame on an emulated CPU; no measure of time."""

    cpu: str  # the emulated model
    median: float
    spread: float  # half the range of the samples, relative to the median
    samples: tuple[float, ...]


class Coverage(Record):
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


class Layer(Record):
    """One kernel of the runtime's own profile."""

    name: str
    kind: str
    ms: float  # per frame


class Picture(Record):
    """What the timed session gave at the places of ``sample.probe``."""

    swapped: tuple[tuple[float, float, float], ...]
    mask: tuple[tuple[float], ...]


class Switches(Record):
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


class FrameStage(Record):
    """One stage of a whole frame."""

    stage: str
    ms: float  # median
    share: float  # 0..1 of the medians of all stages
    samples_ms: tuple[float, ...]  # every frame


class WholeFrame(Record):
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


class Observation(Record):
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
