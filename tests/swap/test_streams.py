"""Frames from a source to a sink: each once, in order, and a run that goes on is as one that was never ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from mfs_edge.base.errors import InputError
from mfs_edge.face.found import Face
from mfs_edge.swap import provenance, run, streams, video
from mfs_edge.swap.choose import Rule
from mfs_edge.swap.finding import Finding
from mfs_edge.swap.job import Job
from mfs_edge.swap.provenance import Signer
from mfs_edge.swap.results import NO_FACE
from mfs_edge.swap.session import Session
from mfs_edge.swap.stream import Frame
from mfs_edge.swap.streams import Watching
from mfs_edge.swap.telling import Telling
from tests.swap.conftest import Built, room

FRAMES = 7


class Film:
    """A face that moves to the right; a ``Source``."""

    frames: int | None = FRAMES
    height, width = room().image.shape[:2]

    def __init__(self, first: int = 0, until: int = FRAMES) -> None:
        self.first, self.until, self.closed = first, until, False

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.first, self.until):
            yield Frame(index, index / 25, np.roll(room().image, index, axis=1))

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True


class Roll:
    """Keeps the frames; a ``Sink``."""

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        self.taken: list[Frame] = []
        self.options = options or {}

    def write(self, frame: Frame) -> None:
        self.taken.append(frame)

    def __enter__(self) -> Roll:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and "finish" in self.options:
            self.options["finish"](Path("temporary"))


class Following:
    """Finds the face by counting frames: what it knows, it knows by memory only."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, image: np.ndarray, seconds: float) -> list[Face]:
        assert seconds == pytest.approx(self.seen / 25)
        self.seen += 1
        return [Face(room().landmarks + np.array([self.seen - 1, 0]), track=4)] if self.seen != 3 else []

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def restore(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


@pytest.fixture
def job(built: Built) -> Job:
    return Job(
        Session(built.path("tflite"), threads=1), Finding(finder=Following()), Rule.of("largest", 1),
        Telling(Signer.of(), print), print,
    )  # fmt: skip


def test_every_frame_once_in_its_order(job: Job) -> None:
    watching, sink = streams.watching(job), Roll()
    told: list[tuple[int, int | None]] = []
    streams.run(job, watching, cast(Any, Film()), sink, lambda done, total: told.append((done, total)))
    assert [frame.index for frame in sink.taken] == list(range(FRAMES))
    assert told == [(number, FRAMES) for number in range(1, FRAMES + 1)]
    changed = [(frame.pixels != np.roll(room().image, frame.index, axis=1)).any() for frame in sink.taken]
    assert changed == [True, True, False, True, True, True, True]
    assert (watching.frames, watching.faces, watching.people) == (FRAMES, FRAMES - 1, {0})
    assert job.stages.frames == FRAMES
    assert all(row.ms > 0 for row in job.stages.rows)


def test_a_run_that_goes_on_is_as_one_that_was_never_ended(job: Job) -> None:
    whole, first, second = Roll(), Roll(), Roll()
    streams.run(job, streams.watching(job), cast(Any, Film()), whole)
    job.finding = Finding(finder=Following())
    begun = streams.watching(job)
    streams.run(job, begun, cast(Any, Film(until=4)), first)
    state = json.loads(json.dumps(begun.state()))
    job.finding = Finding(finder=Following())
    again = streams.watching(job)
    again.restore(state)
    streams.run(job, again, cast(Any, Film(first=4)), second)
    both = [*first.taken, *second.taken]
    assert all((a.pixels == b.pixels).all() for a, b in zip(whole.taken, both, strict=True))
    assert (again.frames, again.faces, again.people) == (FRAMES, FRAMES - 1, {0})


def test_a_source_of_unknown_length_tells_no_total(job: Job) -> None:
    film, told = Film(until=2), []
    film.frames = None
    streams.run(job, streams.watching(job), cast(Any, film), Roll(), lambda done, total: told.append((done, total)))
    assert told == [(1, None), (2, None)]


class Opened:
    """What ``run`` opens in place of files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.film, self.roll, self.said = Film(), Roll(), []  # type: ignore[var-annotated]
        monkeypatch.setattr(video, "open", lambda path, note: self.film)
        monkeypatch.setattr(video, "create", self._create)
        monkeypatch.setattr(provenance, "say", self._say)

    def _create(self, out: Path, *, like: object, note: object, **options: Any) -> Roll:
        self.roll.options = options
        return self.roll

    def _say(self, path: Path, made: Any, signer: object, *, source: Path | None) -> list[str]:
        self.said.append((path, made, source))
        return []


def test_a_video_is_told_what_it_is_when_it_is_finished(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, film = Opened(monkeypatch), tmp_path / "a.mp4"
    film.write_bytes(b"a video")
    following = Following()
    result = run.swap(
        film, tmp_path / "b.mp4", artefact=built.path("tflite"), finder=following, resume=True, overwrite=True
    )
    ((path, made, source),) = opened.said
    assert (path, made.frames, made.faces, source) == (Path("temporary"), FRAMES, FRAMES - 1, film)
    assert result.passed
    assert (result.done[0].frames, result.done[0].swapped) == (FRAMES, FRAMES - 1)
    assert opened.film.closed
    options = opened.roll.options
    assert options["resume"]
    assert options["overwrite"]
    assert isinstance(options["memory"], Watching)
    assert options["memory"].state()["finder"] == {"seen": FRAMES}
    assert options["key"]["artefact"] == made.artefact_sha256
    assert json.loads(json.dumps(options["key"])) == options["key"]


def test_a_video_without_a_face_fails_and_is_not_called_swapped(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, film = Opened(monkeypatch), tmp_path / "a.mp4"
    film.write_bytes(b"a video")
    result = run.swap(film, tmp_path / "b.mp4", artefact=built.path("tflite"), finder=lambda image, seconds: [])
    assert result.done[0].status == NO_FACE
    assert f"any of {FRAMES} frames" in result.done[0].reason
    assert not result.passed
    assert opened.said == []


def test_what_decides_about_a_video_is_its_key(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, film = Opened(monkeypatch), tmp_path / "a.mp4"
    film.write_bytes(b"a video")
    keys = []
    for options in ({}, {"pack": built.packs["tflite"][0]}, {"pack": built.packs["tflite"][1]}, {"face": "2"}):
        run.swap(film, tmp_path / "b.mp4", artefact=built.path("tflite"), finder=Following(), **options)  # type: ignore[arg-type]
        keys.append(json.dumps(opened.roll.options["key"]))
    assert len(set(keys)) == 4


def test_a_frame_that_fails_ends_the_run(job: Job) -> None:
    job.finding = Finding(finder=lambda image, seconds: [np.zeros((5, 2))])
    with pytest.raises(InputError, match="one line"):
        streams.run(job, streams.watching(job), cast(Any, Film()), Roll())
