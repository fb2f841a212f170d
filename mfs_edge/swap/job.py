"""What all pictures of a run share: the session, what finds faces, which are chosen, and what is said of the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mfs_edge.base.printable import counted
from mfs_edge.face.found import Face
from mfs_edge.swap.choose import REFERENCE, Chooser, Likeness, Rule, left_to_right
from mfs_edge.swap.finding import Finding
from mfs_edge.swap.frame import Chosen, FaceSwap
from mfs_edge.swap.results import Seen
from mfs_edge.swap.session import Session
from mfs_edge.swap.stages import Stages
from mfs_edge.swap.telling import Telling


@dataclass
class Job:
    """One run."""

    session: Session
    finding: Finding
    rule: Rule
    telling: Telling
    note: Callable[[str], None]
    overwrite: bool = False
    likeness: Likeness | None = None  # to the reference
    least: float = 0.0
    stages: Stages = field(default_factory=Stages)

    def __post_init__(self) -> None:
        self.swap = FaceSwap(self.session, self.stages)

    def chooser(self) -> Chooser:
        """One for each photo or video."""
        return Chooser(self.rule, len(self.session.people), self.likeness, self.least)

    def frame(self, pixels: np.ndarray, chosen: Sequence[Chosen], index: int = 0, seconds: float = 0.0) -> int:
        """Swap the faces of one frame, uint8 [H, W, 3] RGB, in place, and tell it; how many were swapped."""
        before = self.telling.copied(pixels)
        count = self.swap.frame(pixels, chosen)
        self.telling.frame(pixels, before, chosen if count else (), index, seconds)
        self.stages.frames += 1
        return count

    def nobody(self, path: Path, found: Sequence[Face], chosen: Sequence[Chosen], chooser: Chooser) -> str:
        """Why nothing was swapped in a picture."""
        if chosen:
            return f"{path}: the network's mask shows nothing of the face; nothing was written: look at the landmarks"
        if not found and self.finding.landmarks is not None:
            return f"{path}: {self.finding.landmarks} has no face for it; nothing was written"
        if not found:
            return f"{path}: no face found; nothing was written (give it with --landmarks FILE)"
        if self.rule.kind == REFERENCE:
            return (
                f"{path}: none of its faces is that of {self.rule.photo} (likeness {chooser.best:.2f} at most, at "
                f"least {self.least:g} is needed); nothing was written"
            )
        meant = self.rule.number or self.rule.kind
        return f"{path}: has {counted(len(found), 'face')}, so none that --face {meant} means; nothing was written"

    def seen(self, faces: Sequence[Face], chosen: Sequence[Chosen]) -> tuple[Seen, ...]:
        """What was understood of a photo, from left to right."""
        people = {id(one.face): self.session.people[one.person].name for one in chosen}
        return tuple(_seen(face, people.get(id(face))) for face in left_to_right(faces))


def _seen(face: Face, person: str | None) -> Seen:
    x, y = np.round(face.landmarks.mean(axis=0), 1).tolist()
    return Seen(x, y, round(face.eyes, 1), round(face.score, 3), person)
