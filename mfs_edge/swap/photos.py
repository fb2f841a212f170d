"""A photo, and a folder of photos."""

from __future__ import annotations

from pathlib import Path

from mfs_edge.base import files, images
from mfs_edge.base.errors import InputError, MfsEdgeError, MissingDependency, OutputError, UsageError
from mfs_edge.base.printable import counted
from mfs_edge.base.progress import Steps
from mfs_edge.swap import photo
from mfs_edge.swap.job import Job
from mfs_edge.swap.results import FAILED, KEPT, NO_FACE, SWAPPED, Done
from mfs_edge.swap.stages import DECODE, DETECT, ENCODE


def check(source: Path, out: Path, *, overwrite: bool) -> None:
    """Can a photo be written to ``out``? Raises UsageError or OutputError."""
    photo.format_of(out)
    if out.exists() and out.samefile(source):
        raise UsageError(f"{out}: is what is read; choose another name for the result")
    if out.is_dir():
        raise OutputError(f"{out}: is a folder; name the file to write")
    if not out.parent.is_dir():
        raise OutputError(f"{out}: there is no folder {out.parent}; make it, or choose another name")
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: exists already; choose another name, or add --overwrite")


def one(job: Job, source: Path, out: Path) -> Done:
    """Swap the faces of one photo.

    Raises:
        InputError: it cannot be read, or its landmarks cannot be those of a face.
        OutputError: ``out`` is there, or cannot be written; nothing is left half-written.
    """
    check(source, out, overwrite=job.overwrite)
    with job.stages.timed(DECODE):
        picture = photo.read(source)
    height, width = picture.pixels.shape[:2]
    with job.stages.timed(DETECT):
        found = job.finding.picture(picture.pixels, source)
        chooser = job.chooser()
        chosen = chooser(found, picture.pixels)
    count = job.frame(picture.pixels, chosen)
    told = (str(source), str(out))
    if not count:
        reason = job.nobody(source, found, chosen, chooser)
        return Done(*told, NO_FACE, reason, width, height, job.seen(found, ()))
    people = [face.person for face in chosen]
    if len(chosen) < len(job.session.people):
        names = ", ".join(person.name for person in job.session.people[len(chosen) :])
        job.note(
            f"{source}: has {counted(len(chosen), 'face')} for {len(job.session.people)} packs; nobody got {names}"
        )
    with job.stages.timed(ENCODE):
        encoded, lost = photo.encode(picture, out)
        for line in lost:
            job.note(line)
        made = job.session.made(people=people, faces=count, notes=lost)
        with files.atomic(out) as temporary:
            temporary.write_bytes(encoded)
            job.telling.say(temporary, made, source)
    return Done(*told, SWAPPED, "", width, height, job.seen(found, chosen), swapped=count, made=made)


def folder(job: Job, source: Path, out: Path, steps: Steps) -> list[Done]:
    """Swap the faces of every photo in a folder and its subfolders; what cannot be swapped is told and passed over.

    What is in ``out`` already is kept, so that a run that was ended goes on where it was.

    Raises:
        InputError: there is no picture in it.
        UsageError: one of the two folders lies in the other.
    """
    inner, outer = out.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise UsageError(f"{out}: and {source} lie in each other; choose another folder for the results")
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; name a folder for the results of {source}")
    found, passed = images.within(source)
    for line in passed:
        job.note(f"{source}: passed over {line}")
    if not found:
        raise InputError(f"{source}: holds no picture; give a folder of photos, or one photo or video")
    done = []
    with steps.counted(f"swap {counted(len(found), 'picture')}") as count:
        for number, path in enumerate(found, 1):
            done.append(_within(job, path, out / path.relative_to(source)))
            count(number, len(found))
    return done


def _within(job: Job, source: Path, out: Path) -> Done:
    """One of many: what is wrong with it is a line, not the end."""
    if out.exists() and not job.overwrite:
        return Done(str(source), str(out), KEPT, f"{out}: exists already")
    try:
        photo.format_of(out)
        with files.writing(out.parent):
            out.parent.mkdir(parents=True, exist_ok=True)
        result = one(job, source, out)
    except MissingDependency:
        raise  # the same for all
    except MfsEdgeError as error:
        result = Done(str(source), str(out), FAILED, str(error))
    if result.reason:
        job.note(result.reason)
    return result
