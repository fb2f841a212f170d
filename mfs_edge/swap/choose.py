"""Which of the faces that were found are swapped, and whose face each of them gets.

Faces are counted from left to right, as people read a picture. In a video a face is followed by its track: what
was decided when it was first seen holds for as long as it is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base.errors import UsageError
from mfs_edge.face.found import Face
from mfs_edge.swap.frame import Chosen

LARGEST, ALL, NUMBER, REFERENCE = "largest", "all", "number", "reference"
_OFFERED = "largest, all, a number (1 is the leftmost face) or reference:PHOTO"

# How like the reference a face is, -1 to 1.
Likeness = Callable[[np.ndarray, Face], float]


@dataclass(frozen=True)
class Rule:
    """What ``--face`` asks for."""

    kind: str
    number: int = 0  # from 1
    photo: Path | None = None  # of the reference

    @classmethod
    def of(cls, text: str | int, people: int) -> Rule:
        """What ``text`` says, where so many people (packs, or one) are to be put in.

        Raises:
            UsageError: it says nothing that is known, or not where the packs go.
        """
        found = cls._of(str(text))
        if people > 1 and found.kind != ALL:
            raise UsageError(f"{people} packs are for {people} faces, but --face {text} is one; add --face all")
        return found

    @classmethod
    def _of(cls, text: str) -> Rule:
        if text in (LARGEST, ALL):
            return cls(text)
        kind, _, photo = text.partition(":")
        if kind == REFERENCE and photo:
            return cls(REFERENCE, photo=Path(photo))
        if text.isdecimal() and int(text) > 0:
            return cls(NUMBER, number=int(text))
        raise UsageError(f"--face {text}: is unknown; give {_OFFERED}")


class Chooser:
    """Applies a rule to the frames of one video, or to one photo; remembers the tracks it decided on."""

    def __init__(self, rule: Rule, people: int, likeness: Likeness | None = None, least: float = 0.0) -> None:
        """Take the rule, and how many people there are.

        Args:
            rule: of ``Rule.of``.
            people: with several, each face gets another one, from left to right.
            likeness: for a reference.
            least: what it must reach.
        """
        self.rule, self.people, self.likeness, self.least = rule, people, likeness, least
        self.best = -1.0  # likeness so far
        self._held: dict[int, int | None] = {}  # track -> person; None is left alone

    def __call__(self, faces: Sequence[Face], image: np.ndarray) -> list[Chosen]:
        """Those of ``faces`` (the largest first) that are swapped in ``image``, uint8 [H, W, 3]."""
        if self.rule.kind == ALL:
            return self._all(faces)
        if self.rule.kind == REFERENCE:
            return self._like(faces, image)
        held = [face for face in faces if face.track in self._held]
        if not held:
            held = self._pick(faces)
            self._held = {face.track: 0 for face in held}
        return [Chosen(face) for face in held]

    def _pick(self, faces: Sequence[Face]) -> list[Face]:
        if self.rule.kind == LARGEST:
            return list(faces[:1])
        number = self.rule.number
        return left_to_right(faces)[number - 1 : number]

    def _all(self, faces: Sequence[Face]) -> list[Chosen]:
        if self.people == 1:
            return [Chosen(face) for face in faces]
        there = {face.track for face in faces}
        self._held = {track: person for track, person in self._held.items() if track in there}
        for face in left_to_right(faces):
            free = [person for person in range(self.people) if person not in self._held.values()]
            if face.track not in self._held and free:
                self._held[face.track] = free[0]
        people = [(face, self._held.get(face.track)) for face in faces]
        return [Chosen(face, person) for face, person in people if person is not None]

    def _like(self, faces: Sequence[Face], image: np.ndarray) -> list[Chosen]:
        assert self.likeness is not None
        for face in faces:
            if face.track not in self._held:
                level = self.likeness(image, face)
                self.best = max(self.best, level)
                self._held[face.track] = 0 if level >= self.least else None
        return [Chosen(face) for face in faces if self._held[face.track] is not None]

    def state(self) -> dict[str, Any]:
        """What it remembers, as JSON."""
        return {"held": [[track, person] for track, person in self._held.items()], "best": self.best}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._held, self.best = dict(state["held"]), state["best"]


def left_to_right(faces: Sequence[Face]) -> list[Face]:
    """By where their middles are."""
    return sorted(faces, key=lambda face: float(face.landmarks[:, 0].mean()))
