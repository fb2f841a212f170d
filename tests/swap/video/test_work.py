"""Runs that end early: what they leave plays, and the next one makes what an undisturbed run would have made."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mfs_edge.base import files
from mfs_edge.base.errors import InputError, OutputError, UsageError
from mfs_edge.swap import video
from mfs_edge.swap.stream import Frame
from mfs_edge.swap.video.colour import Colour
from tests.swap.video import driven, films, killed

ROOT = Path(__file__).parents[3]
FOLDER = ".out.mp4.mfs-edge"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return films.write(tmp_path_factory.mktemp("film") / "in.mp4", frames=killed.FRAMES)


@pytest.fixture(scope="module")
def whole(film: Path) -> bytes:
    out = film.with_name("whole.mp4")
    assert driven.run(film, out, said=[]) == killed.FRAMES
    return out.read_bytes()


def broken_off(
    film: Path, out: Path, *, behind: int, error: type[BaseException] = KeyboardInterrupt, **options: Any
) -> list[str]:
    """Run until so many frames are written, and then end by an exception; returns what was said."""
    said: list[str] = []

    def run() -> None:
        drift = driven.Drift()
        with (
            video.open(film, note=said.append) as source,
            video.create(out, like=source, note=said.append, memory=drift, piece=10, **options) as sink,
        ):
            for frame in source:
                drift.change(frame.pixels)
                sink.write(frame)
                if frame.index + 1 == behind:
                    raise error("by the test")

    with pytest.raises(error):
        run()
    return said


def test_killed_at_20_moments(film: Path, whole: bytes, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.swap.video.killed", str(film), str(tmp_path), "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    assert (tmp_path / "whole.mp4").read_bytes() == whole


@pytest.mark.parametrize("behind", [1, 9, 10, 47, killed.FRAMES])
def test_ctrl_c_leaves_what_plays_and_the_rest_can_follow(
    film: Path, whole: bytes, tmp_path: Path, behind: int
) -> None:
    out, partial = tmp_path / "out.mp4", tmp_path / "out.partial.mp4"
    said = broken_off(film, out, behind=behind)
    assert any(str(partial) in line and "--resume" in line for line in said)
    assert {path.name for path in tmp_path.iterdir()} == {partial.name, FOLDER}
    left, source = films.seen(partial), films.seen(film)
    assert left.times == source.times[:behind]
    assert left.packets[0] == source.packets[0][: len(left.packets[0])]
    end = left.times[-1] + left.durations[-1]
    assert 0 <= end - left.packets[0][-1][0] < 0.05 or behind == killed.FRAMES
    assert driven.run(film, out, resume=True, said=[]) == killed.FRAMES - behind // 10 * 10
    assert out.read_bytes() == whole
    assert {path.name for path in tmp_path.iterdir()} == {out.name}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_process_between_two_frames(film: Path, whole: bytes, tmp_path: Path, number: int) -> None:
    out = tmp_path / "out.mp4"
    command = [sys.executable, "-m", "tests.swap.video.driven", str(film), str(out), "--pause", "0.02"]
    # Whoever runs the tests in the background has Ctrl-C ignored, and children inherit that.
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=heard) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "33":
            assert process.poll() is None
        process.send_signal(number)
        process.stdout.read()
        assert process.wait(60) == 130
    count = len(films.seen(tmp_path / "out.partial.mp4").times)
    assert 34 <= count < killed.FRAMES
    assert driven.run(film, out, resume=True, said=[]) == killed.FRAMES - count // 10 * 10
    assert out.read_bytes() == whole


@pytest.fixture
def heard_here() -> Iterator[None]:
    """Ctrl-C is heard as in a terminal; whoever runs the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_here")
def test_a_second_ctrl_c_does_not_wait(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a frame is being written the first one waits, and the second does not."""
    heard: list[str] = []

    def twice(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)
        heard.append("first")
        signal.raise_signal(signal.SIGINT)
        heard.append("second")

    def run() -> None:
        with (
            video.open(film, note=print) as source,
            video.create(tmp_path / "out.mp4", like=source, note=print) as sink,
        ):
            monkeypatch.setattr(Colour, "frame", twice)
            sink.write(next(iter(source)))

    with pytest.raises(KeyboardInterrupt):
        run()
    assert heard == ["first"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not (tmp_path / "out.mp4").exists()


def test_an_error_keeps_what_is_finished_and_says_so(film: Path, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    said = broken_off(film, out, behind=25, error=InputError)
    assert any("20 frames are kept; continue with --resume" in line for line in said)
    assert {path.name for path in tmp_path.iterdir()} == {FOLDER}
    assert driven.run(film, out, resume=True, said=[]) == killed.FRAMES - 20
    assert out.read_bytes() == whole


def test_an_error_before_anything_is_finished_leaves_nothing(film: Path, tmp_path: Path) -> None:
    broken_off(film, tmp_path / "out.mp4", behind=5, error=InputError)
    assert not list(tmp_path.iterdir())


def test_nothing_is_thrown_away_unless_asked_for(film: Path, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    broken_off(film, out, behind=25)
    with pytest.raises(OutputError, match=r"20 frames of it are finished .*--resume.*--overwrite"):
        driven.run(film, out, said=[])
    assert (tmp_path / "out.partial.mp4").exists()
    assert driven.run(film, out, overwrite=True, said=[]) == killed.FRAMES
    assert out.read_bytes() == whole
    assert {path.name for path in tmp_path.iterdir()} == {out.name}


def test_a_stranger_s_files_are_not_touched(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    (tmp_path / "out.partial.mp4").write_text("mine")
    with pytest.raises(OutputError, match=r"out\.partial\.mp4: exists"):
        driven.run(film, out, said=[])
    assert {path.name for path in tmp_path.iterdir()} == {"out.partial.mp4"}
    (tmp_path / "out.partial.mp4").unlink()
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "letter.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="was not made by mfs-edge"):
            driven.run(film, out, overwrite=overwrite, said=[])
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} <= {"letter.txt", "lock"}


def test_only_the_same_run_is_continued(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    broken_off(film, out, behind=25, key={"artefact": "a"})
    with pytest.raises(OutputError, match="another artefact"):
        driven.run(film, out, resume=True, key={"artefact": "b"}, said=[])
    with pytest.raises(OutputError, match="another encoder"):
        driven.run(film, out, resume=True, key={"artefact": "a"}, crf=30, said=[])
    other = films.write(tmp_path / "other.mp4", frames=killed.FRAMES, rotation=90)
    with pytest.raises(OutputError, match="another input"):
        driven.run(other, out, resume=True, key={"artefact": "a"}, said=[])
    assert driven.run(film, out, resume=True, key={"artefact": "a"}, said=[]) == killed.FRAMES - 20


def test_damaged_pieces_are_made_again(film: Path, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    broken_off(film, out, behind=45)
    piece = tmp_path / FOLDER / "000002.mp4"
    piece.write_bytes(piece.read_bytes()[:-100])
    assert driven.run(film, out, resume=True, said=[]) == killed.FRAMES - 20
    assert out.read_bytes() == whole


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"times": 3}', "\x00"])
def test_damaged_records_are_made_again(film: Path, whole: bytes, tmp_path: Path, content: str) -> None:
    out = tmp_path / "out.mp4"
    broken_off(film, out, behind=45)
    (tmp_path / FOLDER / "000003.json").write_text(content)
    assert driven.run(film, out, resume=True, said=[]) == killed.FRAMES - 30
    assert out.read_bytes() == whole


def test_two_runs_at_once(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    with (
        video.open(film, note=print) as source,
        video.create(out, like=source, note=print) as sink,
        video.open(film, note=print) as second,
    ):
        for told in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(OutputError, match="another run is writing it"):
                video.create(out, like=second, note=print, **told)
        for frame in source:
            sink.write(frame)
    assert len(films.seen(out).times) == killed.FRAMES


@pytest.mark.parametrize("last", ["play.ffconcat", "000003.json", "run.json"])
def test_killed_while_it_tidies_up(film: Path, whole: bytes, tmp_path: Path, last: str) -> None:
    """The result has its name; what is left goes with the next run."""
    out = tmp_path / "out.mp4"

    def tidied_until() -> None:
        delete = files.delete

        def deleted(path: Path) -> None:
            if path.name == last and out.exists():
                os._exit(9)
            delete(path)

        files.delete = deleted  # type: ignore[assignment]  # in a forked process, which ends by it
        driven.run(film, out)

    assert killed.ended(killed.child(tidied_until)) == 9
    assert out.read_bytes() == whole
    assert (tmp_path / FOLDER / last).exists()
    assert driven.run(film, out, resume=True, said=[]) == 0
    assert out.read_bytes() == whole
    assert {path.name for path in tmp_path.iterdir()} == {out.name}


def test_resume_begins_where_nothing_was_begun(film: Path, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assert driven.run(film, out, resume=True, said=[]) == killed.FRAMES
    assert out.read_bytes() == whole
    with pytest.raises(OutputError, match="exists"):
        driven.run(film, out, resume=True, said=[])


def test_what_took_its_place_meanwhile_stays(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"

    def run() -> None:
        with (
            video.open(film, note=print) as source,
            video.create(out, like=source, note=print, memory=driven.Drift(), piece=10) as sink,
        ):
            for frame in source:
                sink.write(frame)
            out.write_text("mine")

    with pytest.raises(OutputError, match="exists"):
        run()
    assert out.read_text() == "mine"
    assert (tmp_path / FOLDER).exists()


class Camera:
    """A live source of ten frames and more, until it is told to stop."""

    width, height, frames, rate, live = 64, 48, None, None, True

    def __init__(self, film: Path) -> None:
        from fractions import Fraction

        self.time_base = Fraction(1, 90000)
        self.started = time.monotonic()

    def __iter__(self) -> Any:
        import numpy as np

        for index in range(25):
            yield Frame(index, index / 10, np.full((48, 64, 3), 5 * index, np.uint8), 9000 * index)
        signal.raise_signal(signal.SIGINT)
        time.sleep(10)

    def close(self) -> None: ...


@pytest.mark.usefixtures("heard_here")
def test_a_live_recording_is_finished_by_ctrl_c(tmp_path: Path, film: Path) -> None:
    out, source = tmp_path / "out.mkv", Camera(film)
    with video.create(out, like=source, note=print, piece=10) as sink:
        for frame in source:
            sink.write(frame)
    assert [float(at) for at in films.seen(out).times] == [index / 10 for index in range(25)]
    assert {path.name for path in tmp_path.iterdir()} == {out.name}
    with pytest.raises(UsageError, match="only a video file can be continued"):
        video.create(tmp_path / "again.mkv", like=source, note=print, resume=True)


def test_a_full_disk_is_one_line(film: Path, tmp_path: Path) -> None:
    """Files that this process writes may not grow beyond a limit."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2);"
        "from tests.swap.video import driven; driven.main()"
    )
    size = film.stat().st_size
    for limit in (1000, size // 3):
        command = [sys.executable, "-c", code, str(limit), str(film), str(tmp_path / "out.mp4")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2, done.stderr
        assert "cannot be written" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "out.mp4").exists()
        assert not list(tmp_path.glob("*.mp4"))
