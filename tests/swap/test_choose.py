"""Which face is swapped, and for whose, by what --face says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mfs_edge.base.errors import UsageError
from mfs_edge.face import align
from mfs_edge.face.found import Face
from mfs_edge.swap.choose import Chooser, Rule

IMAGE = np.zeros((4, 4, 3), np.uint8)


def face(x: float, eyes: float, track: int) -> Face:
    """Its middle at ``x``."""
    centred = align.TEMPLATE - align.TEMPLATE.mean(axis=0)
    return Face(centred * eyes / 35.24 + (x, 50), 1.0, track)


LEFT, MIDDLE, RIGHT = face(10, 20, 2), face(60, 40, 0), face(120, 30, 1)
FACES = [MIDDLE, RIGHT, LEFT]  # the largest first, as finders give them


def picked(rule: str | int, faces: list[Face], people: int = 1) -> list[tuple[int, int]]:
    """Track and person of each that is chosen."""
    chosen = Chooser(Rule.of(rule, people), people)(faces, IMAGE)
    return sorted((one.face.track, one.person) for one in chosen)


@pytest.mark.parametrize(
    ("rule", "tracks"),
    [("largest", [0]), ("all", [0, 1, 2]), ("1", [2]), (1, [2]), ("2", [0]), ("3", [1]), ("4", [])],
)
def test_faces_are_counted_from_the_left(rule: str | int, tracks: list[int]) -> None:
    assert picked(rule, FACES) == [(track, 0) for track in tracks]
    assert picked(rule, []) == []


def test_several_people_from_left_to_right() -> None:
    assert picked("all", FACES, people=3) == [(0, 1), (1, 2), (2, 0)]
    assert picked("all", FACES, people=2) == [(0, 1), (2, 0)]
    assert picked("all", FACES[:1], people=2) == [(0, 0)]


def test_a_face_in_a_video_keeps_what_was_decided() -> None:
    chooser = Chooser(Rule.of("all", 2), 2)
    chooser(FACES[:2], IMAGE)
    crossed = [face(200, 40, 0), face(20, 30, 1)]
    assert {(one.face.track, one.person) for one in chooser(crossed, IMAGE)} == {(0, 0), (1, 1)}
    newcomer = [*crossed[:1], face(5, 30, 9)]  # the other has left: the place is free
    assert {(one.face.track, one.person) for one in chooser(newcomer, IMAGE)} == {(0, 0), (9, 1)}
    largest = Chooser(Rule.of("largest", 1), 1)
    assert largest([MIDDLE, LEFT], IMAGE)[0].face.track == 0
    assert largest([face(10, 90, 2), MIDDLE], IMAGE)[0].face.track == 0, "another one has come nearer"
    assert largest([face(10, 90, 2)], IMAGE)[0].face.track == 2
    second = Chooser(Rule.of(2, 1), 1)
    assert second([MIDDLE, LEFT], IMAGE)[0].face is MIDDLE
    assert second([face(0, 40, 0), face(50, 20, 2)], IMAGE)[0].face.track == 0


def test_the_face_of_a_reference_is_asked_for_once_per_track() -> None:
    asked = []

    def like(image: np.ndarray, face: Face) -> float:
        asked.append(face.track)
        return 0.7 if face.track == 1 else 0.2

    chooser = Chooser(Rule.of("reference:me.jpg", 1), 1, like, 0.35)
    for _ in range(3):
        assert [one.face.track for one in chooser(FACES, IMAGE)] == [1]
    assert sorted(asked) == [0, 1, 2]
    assert chooser.best == 0.7


@pytest.mark.parametrize("rule", ["all", "largest", "2"])
def test_it_goes_on_in_another_process(rule: str) -> None:
    people = 2 if rule == "all" else 1
    first, second = (Chooser(Rule.of(rule, people), people) for _ in range(2))
    first(FACES, IMAGE)
    second.restore(json.loads(json.dumps(first.state())))
    later = [face(9, 90, 1), face(100, 20, 0)]
    told = [[(one.face.track, one.person) for one in chooser(later, IMAGE)] for chooser in (first, second)]
    assert told[0] == told[1]


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "biggest", "reference:", "reference", "ALL", "²"])
def test_what_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="largest, all, a number"):
        Rule.of(text, 1)


@pytest.mark.parametrize("text", ["largest", "2", "reference:a.png"])
def test_several_packs_for_one_face_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--face all"):
        Rule.of(text, 2)
    assert Rule.of(text, 1).photo in (None, Path("a.png"))
