"""A video, a camera or a pipe: frame by frame from a source to a sink."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mfs_edge.base.progress import Pace
from mfs_edge.swap.choose import LARGEST, Chooser
from mfs_edge.swap.finding import Find
from mfs_edge.swap.job import Job
from mfs_edge.swap.stages import DECODE, DETECT, ENCODE
from mfs_edge.swap.stream import Frame, Sink, Source


@dataclass
class Watching:
    """What finds and chooses faces in a video, and what of it has to be remembered: a ``Memory``."""

    find: Find
    chooser: Chooser
    memory: Any = None  # of the finder, where it has one
    frames: int = 0
    faces: int = 0  # swapped, over all frames
    people: set[int] = field(default_factory=set)  # who was put in

    def state(self) -> dict[str, Any]:
        """What it remembers, as JSON."""
        finder = None if self.memory is None else self.memory.state()
        counts = {"frames": self.frames, "faces": self.faces, "people": sorted(self.people)}
        return {"chooser": self.chooser.state(), "finder": finder, **counts}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.chooser.restore(state["chooser"])
        if self.memory is not None and state["finder"] is not None:
            self.memory.restore(state["finder"])
        self.frames, self.faces, self.people = int(state["frames"]), int(state["faces"]), set(state["people"])


def watching(job: Job) -> Watching:
    """For one video; raises as ``Finding.stream``."""
    find, memory = job.finding.stream(most=1 if job.rule.kind == LARGEST else None)
    return Watching(find, job.chooser(), memory)


def run(job: Job, watching: Watching, source: Source, sink: Sink, told: Pace | None = None) -> None:
    """Swap the faces of every frame; ``sink`` is not closed.

    Args:
        job: of the run.
        watching: counts frames and faces.
        source: read to its end.
        sink: gets every frame, once it is swapped and before the next one is read.
        told: of progress.
    """
    frames = _decoded(job, source)
    for frame in frames:
        with job.stages.timed(DETECT):
            chosen = watching.chooser(watching.find(frame), frame.pixels)
        swapped = job.frame(frame.pixels, chosen, frame.index, frame.seconds)
        watching.faces += swapped
        watching.people.update(one.person for one in chosen if swapped)
        watching.frames += 1
        with job.stages.timed(ENCODE):
            sink.write(frame)
        if told is not None:
            told(frame.index + 1, source.frames)


def _decoded(job: Job, source: Source) -> Iterator[Frame]:
    """The frames; waiting for each is what decoding takes."""
    frames = iter(source)
    while True:
        with job.stages.timed(DECODE):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame
