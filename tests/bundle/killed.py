"""Publish in forked children that are killed; every line printed is a failure.

``python -m tests.bundle.killed FOLDER each FORM`` kills before every single file-system operation;
``... FOLDER random TRIALS`` after a random time.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import filelock  # noqa: F401 (imported before the fork: its own files are none of ours)

from mfs_edge import bundle, target
from mfs_edge.base import files
from tests.bundle import made

OPERATIONS = ("open", "os.", "shutil.", "fcntl.")
SETTINGS = ("fresh", "existing", "beside others")


class Countdown:
    """Kills this process before its n-th file-system operation."""

    def __init__(self, n: int) -> None:
        self.left = n
        sys.addaudithook(self.heard)
        os.fsync = self.before(os.fsync)
        os.fstat = self.before(os.fstat)

    def heard(self, event: str, arguments: object) -> None:
        if event.startswith(OPERATIONS) and event != "os.kill":
            self.tick()

    def tick(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object) -> object:
            self.tick()
            return call(*arguments)

        return counted


def in_child(action: Callable[[], object]) -> int:
    """The process that does it."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def prepared(folder: Path, setting: str, forms: tuple[str, ...]) -> set[str]:
    """An output folder before the run; whose artefacts it holds."""
    files.delete(folder)
    if setting == "fresh":
        return set()
    made.publish(folder, "old", *forms)
    if setting == "beside others":
        made.publish(folder, "other", "tflite", name="other")
        (folder / "letter.txt").write_text("mine")
        return {"old", "other"}
    return {"old"}


def judged(folder: Path, before: set[str], forms: tuple[str, ...]) -> str | None:
    """What is wrong after a kill: with what is there, or with the next run."""
    after = before - {"old"} | {"new"}
    mine = {"letter.txt"} if "other" in before else set()
    try:
        found = made.holds(folder)
        if found not in (before, after):
            return f"neither the old nor the new, but {found}"
        bundle.check_folder(folder, overwrite=bool(mine))
        if set(bundle.foreign(folder)) != mine:
            return f"leftovers in the way: {bundle.foreign(folder)}"
        made.publish(folder, "next", *forms)
        names = {path.name for path in folder.iterdir()}
        wanted = {path.split("/")[0] for form in forms for path in made.contents(form, "x")} | {bundle.MANIFEST} | mine
        wanted |= {"other.tflite"} if mine else set()
        if made.holds(folder) != after - {"new"} | {"next"} or names != wanted:
            return f"the next run left {sorted(names)}, of {made.holds(folder)}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def each(folder: Path, *forms: str) -> None:
    for setting in SETTINGS:
        n = 0
        while True:
            before = prepared(folder, setting, forms)

            def action(n: int = n) -> None:
                Countdown(n)
                made.publish(folder, "new", *forms)

            _, status = os.waitpid(in_child(action), 0)
            if not os.WIFSIGNALED(status):
                break
            if wrong := judged(folder, before, forms):
                sys.stdout.write(f"{setting}, before operation {n}: {wrong}\n")
            n += 1
        if os.waitstatus_to_exitcode(status) or n < 40:
            sys.stdout.write(f"{setting}: ended with {status} after {n} operations\n")
        sys.stderr.write(f"{setting}: {n} kills\n")


def at_random(folder: Path, trials: str) -> None:
    chance = random.Random(5)
    prepared(folder, "existing", made.FORMS)
    begin = time.perf_counter()
    made.publish(folder, "old", *made.FORMS)
    lasts = time.perf_counter() - begin
    killed = 0
    for trial in range(int(trials)):
        before = prepared(folder, SETTINGS[trial % len(SETTINGS)], made.FORMS)
        pid = in_child(lambda: made.publish(folder, "new", *made.FORMS))
        time.sleep(chance.uniform(0, 1.1 * lasts))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        killed += os.WIFSIGNALED(status)
        if wrong := judged(folder, before, made.FORMS):
            sys.stdout.write(f"trial {trial}: {wrong}\n")
    sys.stderr.write(f"{killed} of {trials} were killed on the way\n")


if __name__ == "__main__":
    target.registered()
    {"each": each, "random": at_random}[sys.argv[2]](Path(sys.argv[1]), *sys.argv[3:])
