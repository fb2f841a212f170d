"""Publish as ``mfs-edge demo`` does in forked children, killed before each file-system operation of publishing.

``python -m tests.pipeline.killed_demo FOLDER``: every line printed is a failure. The artefacts are small ones;
how they get into the folder is the demo's own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import filelock  # noqa: F401 (imported before the fork: its own files are none of ours)

from mfs_edge import bundle, target
from mfs_edge.base import files
from mfs_edge.bundle.manifest import read
from mfs_edge.pipeline import demo
from tests.bundle import made
from tests.bundle.killed import Countdown, in_child

FORMS = ("openvino",)
VIDEOS = tuple(f"{demo.film.FOLDER}/{name}" for name in (demo.film.DRAWN, demo.film.PICTURE))


def publish(out: Path, whose: str, ready: Callable[[], object] = lambda: None) -> None:
    """Two folders, the sheet, the identities and the videos of one run; ``ready`` is called once they are made."""
    with bundle.staging(out) as stage:
        beside = bundle.beside(stage)
        (beside / demo.IDENTITIES).mkdir(parents=True)
        (beside / demo.SHEET).write_text(whose)
        (beside / demo.film.FOLDER).mkdir()
        for name in VIDEOS:
            (beside / name).write_text(whose)
        results = []
        for name in demo.FOLDERS[:2]:
            (beside / demo.IDENTITIES / f"{name}.npy").write_text(whose)
            results.append((stage / name, made.publish(stage / name, whose, *FORMS)))
        ready()
        demo.publish(stage, out, results)


def prepared(out: Path, *, fresh: bool) -> set[str]:
    files.delete(out)
    if fresh:
        return set()
    publish(out, "old")
    return {"old"}


def whole(out: Path, whose: str) -> str | None:
    """What differs from a folder that a run for ``whose`` has ended in."""
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    inside = {name for form in FORMS for name in made.contents(form, whose)} | {bundle.MANIFEST}
    wanted = {f"{folder}/{name}" for folder in demo.FOLDERS[:2] for name in inside}
    others = {demo.SHEET, *VIDEOS, *(f"{demo.IDENTITIES}/{folder}.npy" for folder in demo.FOLDERS[:2])}
    if names != wanted | others | {bundle.MANIFEST}:
        return f"holds {sorted(names)}"
    for folder in (out, *(out / name for name in demo.FOLDERS[:2])):
        if made.holds(folder) != {whose}:
            return f"{folder.name} is of {made.holds(folder)}"
    if read(out / bundle.MANIFEST).warnings != (demo.sample.WARNING,):
        return "the warning is lost"
    other = [name for name in others if (out / name).read_text() != whose]
    return f"another run's {other}" if other else None


def judged(out: Path, before: set[str]) -> str | None:
    """What is wrong after a kill: with what is there, or with the next run."""
    try:
        found = made.holds(out)
        if found not in (before, {"new"}):
            return f"neither the old nor the new, but {found}"
        demo.check(out, overwrite=False)
        with bundle.staging(out):  # the next run, as it starts
            if found and (wrong := whole_beside(out, *found)):
                return f"after recovery: {wrong}"
        publish(out, "next")
        return whole(out, "next")
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def whole_beside(out: Path, whose: str) -> str | None:
    """As :func:`whole`, while a run's own staging folder is there."""
    (stage,) = out.glob(f"{bundle.folder.STAGING}*")
    away = stage.rename(out.parent / "away")
    try:
        return whole(out, whose)
    finally:
        away.rename(stage)


def main(out: Path) -> None:
    for fresh in (True, False):
        n = 0
        while True:
            before = prepared(out, fresh=fresh)

            def action(n: int = n) -> None:
                publish(out, "new", ready=lambda: Countdown(n))

            _, status = os.waitpid(in_child(action), 0)
            if not os.WIFSIGNALED(status):
                break
            if wrong := judged(out, before):
                sys.stdout.write(f"fresh {fresh}, before operation {n}: {wrong}\n")
            n += 1
        if os.waitstatus_to_exitcode(status) or n < 60:
            sys.stdout.write(f"fresh {fresh}: ended with {status} after {n} operations\n")
        sys.stderr.write(f"fresh {fresh}: {n} kills\n")


if __name__ == "__main__":
    target.registered()
    main(Path(sys.argv[1]))
