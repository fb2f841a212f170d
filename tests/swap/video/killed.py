"""Runs over a video in forked children that are killed at moments spread over one; every line it writes is a failure.

    python -m tests.swap.video.killed FILM FOLDER TRIALS

What is left must play; a resumed run, killed once more half-way in every second trial, must end in the very bytes
of a run that was left alone, and do no finished piece again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import av
import cv2  # noqa: F401 (imported before the fork: a child's start is then its work's)
import filelock  # noqa: F401

from tests.swap.video import driven

FRAMES, PIECE = 95, 10
EMPTIED = (".out.mp4.mfs-edge", "lock")  # killed at the very last: the next run takes it, or whoever cleans up
SLOW = 0.004  # seconds a frame, so that a run has moments to be killed at


def child(work: Callable[[], object]) -> int:
    """The number of a forked process that does the work."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def ended(number: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def killed_after(seconds: float, work: Callable[[], object]) -> None:
    number = child(work)
    time.sleep(seconds)
    os.kill(number, signal.SIGKILL)
    ended(number)


def unplayable(folder: Path) -> list[str]:
    """Videos under names that do not say they are unfinished, and cannot be decoded to their end."""
    bad = []
    for path in sorted(folder.rglob("*.mp4")):
        if path.stem == "unfinished":
            continue
        try:
            with av.open(str(path)) as container:
                frames = sum(1 for _ in container.decode(video=0))
            if not frames:
                bad.append(f"{path} holds no frame")
        except av.FFmpegError as error:
            bad.append(f"{path} does not play: {error}")
    return bad


def listed(folder: Path) -> int:
    """How many frames the list for players leads to."""
    lists = list(folder.rglob("play.ffconcat"))
    if not lists:
        return 0
    with av.open(str(lists[0])) as container:
        return sum(1 for _ in container.decode(video=0))


class Trial:
    """One run, killed once or twice, and what came of it."""

    def __init__(self, number: int, film: Path, folder: Path, whole: Path, took: float) -> None:
        self.number, self.film, self.whole, self.took = number, film, whole, took
        self.here = folder / str(number)
        self.here.mkdir()
        self.out = self.here / "out.mp4"

    def say(self, what: object) -> None:
        sys.stdout.write(f"trial {self.number}: {what}\n")

    def run(self, *, resume: bool) -> int:
        return driven.run(self.film, self.out, pause=SLOW, piece=PIECE, resume=resume)

    def go(self, share: float) -> None:
        """Kill it when this share of an undisturbed run's time is over, look at what it left, and finish it."""
        killed_after(self.took * share, lambda: self.run(resume=False))
        if self.number % 2 and not self.out.exists():
            killed_after(self.took / 4, lambda: self.run(resume=True))
        for line in unplayable(self.here):
            self.say(line)
        finished = sum(len(json.loads(path.read_text())["times"]) for path in self.here.rglob("0*.json"))
        if finished - listed(self.here) not in (0, PIECE, FRAMES % PIECE) and not self.out.exists():
            self.say(f"the list plays {listed(self.here)} of {finished} frames")
        if not self.out.exists() or list(self.here.rglob("run.json")):
            self.resume(finished)
        if self.out.read_bytes() != self.whole.read_bytes():
            self.say("is another file than that of an undisturbed run")
        left = [path.name for path in self.here.rglob("*") if path != self.out and path.name not in EMPTIED]
        if left:
            self.say(f"left {left}")

    def resume(self, finished: int) -> None:
        published, given = self.out.exists(), self.here / "given"
        if ended(child(lambda: given.write_text(str(self.run(resume=True))))):
            self.say("cannot be resumed")
            return
        if not published and int(given.read_text()) != FRAMES - finished:
            self.say(f"{finished} frames were finished, and {given.read_text()} were made again")
        given.unlink()


def main(film: Path, folder: Path, trials: int) -> None:
    whole = folder / "whole.mp4"
    started = time.monotonic()
    if ended(child(lambda: driven.run(film, whole, pause=SLOW, piece=PIECE))):
        sys.stdout.write("an undisturbed run failed\n")
        return
    took = time.monotonic() - started
    for number in range(trials):
        Trial(number, film, folder, whole, took).go((number + 0.5) / trials)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
