"""What a run of ``swap`` did: every picture or video, the faces in it, and where the time went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from mfs_edge.base.errors import CheckFailed
from mfs_edge.base.printable import counted
from mfs_edge.swap.made import Made
from mfs_edge.swap.stages import Stages

Status = Literal["swapped", "no face", "failed", "kept"]
SWAPPED: Final = "swapped"
NO_FACE: Final = "no face"
FAILED: Final = "failed"
KEPT: Final = "kept"  # from an earlier run


@dataclass(frozen=True)
class Seen:
    """A face that was found in a photo."""

    x: float  # its middle, in pixels of the upright picture
    y: float
    eyes: float  # pixels between them
    score: float
    person: str | None  # whose face it got, by the name of the pack or artefact; None: it was left alone


@dataclass(frozen=True)
class Done:
    """One picture or video."""

    source: str
    out: str
    status: Status
    reason: str = ""  # why nothing was written
    width: int = 0
    height: int = 0
    faces: tuple[Seen, ...] = ()  # of a photo, from left to right
    frames: int = 1
    swapped: int = 0  # faces, over all frames
    made: Made | None = None


@dataclass(frozen=True)
class Swapped:
    """The result of ``swap``."""

    out: Path
    artefact: Path
    people: tuple[str, ...]
    done: tuple[Done, ...]
    stages: Stages = field(repr=False)
    report: tuple[Path, ...] = ()  # files of it

    @property
    def passed(self) -> bool:
        """Whether everything that had to be written was."""
        return not self._failure()

    def require_all(self) -> None:
        """Raises CheckFailed, with one line, if a picture failed or nobody was found."""
        if line := self._failure():
            raise CheckFailed(line)

    def _failure(self) -> str:
        if len(self.done) == 1:
            (one,) = self.done
            return one.reason if one.status in (NO_FACE, FAILED) else ""
        failed = self.of(FAILED)
        if failed:
            return f"{len(failed)} of {counted(len(self.done), 'picture')} failed (the first: {failed[0].reason})"
        if self.done and not self.of(SWAPPED) and not self.of(KEPT):
            return f"{self.done[0].source}: no face was found in it, nor in any of {counted(len(self.done), 'picture')}"
        return ""

    def of(self, status: Status) -> Sequence[Done]:
        """Those of one status."""
        return [one for one in self.done if one.status == status]

    def as_json(self) -> dict[str, Any]:
        """For ``--json``: the artefact by its name, the files, and the stages."""
        files = [{**asdict(one), "made": _told(one.made)} for one in self.done]
        told = {"out": str(self.out), "artefact": self.artefact.name, "people": list(self.people)}
        report = [str(path) for path in self.report]
        return {**told, "passed": self.passed, "files": files, "report": report, **self.stages.as_json()}


def _told(made: Made | None) -> dict[str, Any] | None:
    """What may be published: the artefact's name, not where it lay."""
    return None if made is None else {**asdict(made), "artefact": made.artefact.name}
