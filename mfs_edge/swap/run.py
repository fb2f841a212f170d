"""``mfs-edge swap``: from a photo, a folder, a video, a camera or a pipe to the same with faces swapped."""

from __future__ import annotations

import enum
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mfs_edge.base import extras, files, images
from mfs_edge.base.errors import UsageError
from mfs_edge.base.printable import counted
from mfs_edge.base.progress import Recorded, Steps
from mfs_edge.swap import camera, carriers, photos, pipe, pipe_form, provenance, session, streams, telling, video
from mfs_edge.swap.choose import REFERENCE, Rule
from mfs_edge.swap.finding import Finding, Points
from mfs_edge.swap.job import Job
from mfs_edge.swap.made import Made
from mfs_edge.swap.results import NO_FACE, SWAPPED, Done, Swapped
from mfs_edge.swap.session import Session

PathLike = str | Path
PIPE, CAMERA = "-", "camera:"


class Kind(enum.Enum):
    """What IN is."""

    PHOTO = "photo"
    FOLDER = "folder"
    VIDEO = "video"
    CAMERA = "camera"
    PIPE = "pipe"


def kind_of(source: PathLike) -> Kind:
    """By its name for a camera and a pipe, else by what it holds.

    What is unknown is what it is called, so that the line that refuses it is about that.

    Raises:
        InputError: there is no such file, or it may not be read.
    """
    if str(source) == PIPE:
        return Kind.PIPE
    if str(source).startswith(CAMERA):
        return Kind.CAMERA
    path = Path(source)
    if path.is_dir():
        return Kind.FOLDER
    files.require_file(path, "photo or video")
    if images.kind(path) is None and (path.suffix.lower() not in images.SUFFIXES or carriers.of(path) is not None):
        return Kind.VIDEO
    return Kind.PHOTO


def swap(
    source: PathLike,
    out: PathLike,
    *,
    artefact: PathLike,
    pack: PathLike | Sequence[PathLike] = (),
    key: PathLike | None = None,
    face: str | int = "largest",
    landmarks: PathLike | None = None,
    finder: Points | None = None,
    face_models: PathLike | None = None,
    arcface: PathLike | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    pipe_size: str | None = None,
    pipe_format: str | None = None,
    pipe_rate: str | None = None,
    sign_cert: PathLike | None = None,
    sign_key: PathLike | None = None,
    label: bool = False,
    report: PathLike | None = None,
    identity: PathLike | None = None,
    steps: Steps | None = None,
) -> Swapped:
    """Swap the faces in photos and videos with an artefact.

    Args:
        source: a photo, a folder of photos, a video, ``camera:0``, or ``-`` for frames on standard input.
        out: a file of the kind that its suffix says; for a folder, a folder; ``-`` for frames on standard output.
        artefact: the file or folder that compile wrote, or the folder of its manifest.
        pack: identities to put in, in the place of the artefact's own. With several, and ``face="all"``, each face
            gets another one, from left to right.
        key: the file with the secret key that opens sealed packs; by default that of ``$MFS_EDGE_KEY``.
        face: "largest", "all", a number (1 is the leftmost face), or "reference:PHOTO" (with ``arcface``).
        landmarks: a file of five points, in the place of the detector; for a folder of photos a folder of files.
        finder: in its place, any callable: (image uint8 [H, W, 3] RGB, seconds) -> faces, or points [5, 2] of each.
        face_models: the folder with the detector's two models; by default the cache of ``mfs-edge face-models``.
        arcface: its checkpoint; for a reference, and for the likeness in a report.
        threads: of the runtime.
        overwrite: replace what is there.
        resume: continue a video that an earlier run has begun.
        pipe_size: of raw frames on standard input, "640x480".
        pipe_format: of raw frames on standard input and output: "rgb24", "yuv420p", ...; see ``swap.pipe.FORMATS``.
        pipe_rate: frames per second of raw frames on standard input.
        sign_cert: the certificate (PEM) that signs what the results say of themselves; by default one made on the spot.
        sign_key: its key.
        label: draw a mark that people see.
        report: a folder to write what was changed and what was not into.
        identity: id.npy of whose face is put in, for the likeness in the report.
        steps: told of progress.

    Returns:
        What was done; ``passed`` tells whether all of it could be, ``require_all`` raises CheckFailed if not.

    Raises:
        UsageError, InputError: an option or a file cannot be used; nothing was written.
        OutputError: ``out`` exists or cannot be written.
        MissingDependency: a runtime, an extra or a model is not installed; named.
    """
    steps = steps or Recorded()
    extras.require("cv2", "swap")
    kind, out = kind_of(source), Path(out)
    ends = _Ends(pipe_size, pipe_format, pipe_rate)
    ends.check(kind, source, out)
    _check(kind, source, out, resume=resume, overwrite=overwrite, report=report)
    packs = [Path(pack)] if isinstance(pack, str | Path) else [Path(one) for one in pack]
    rule = Rule.of(face, max(1, len(packs)))
    finding = Finding(_path(landmarks), finder, _path(face_models), steps.note)
    with steps.step("open the artefact"):
        opened = Session(session.find(Path(artefact), packs, key), packs, key=key, threads=threads)
        finding.check(frames=kind not in (Kind.PHOTO, Kind.FOLDER))
    for line in opened.warnings:
        steps.note(line)
    likeness = _likeness(rule, _path(arcface), finding, reported=report is not None)
    told = telling.telling(
        sign_cert=sign_cert, sign_key=sign_key, label=label, report=report, arcface=arcface, identity=identity,
        overwrite=overwrite, note=steps.note,
    )  # fmt: skip
    job = Job(opened, finding, rule, told, steps.note, overwrite, **likeness)
    done = _swapped(job, kind, source, out, steps, ends, resume=resume)
    people = tuple(person.name for person in opened.people)
    made = done[0].made
    return Swapped(out, opened.path, people, tuple(done), job.stages, told.finish(made) if made else ())


def _path(given: PathLike | None) -> Path | None:
    return None if given is None else Path(given)


def _check(kind: Kind, source: PathLike, out: Path, *, resume: bool, overwrite: bool, report: PathLike | None) -> None:
    """What can be told before any work."""
    if str(out) == PIPE and kind in (Kind.PHOTO, Kind.FOLDER):
        raise UsageError(f"{source}: is a {kind.value}, and a pipe takes the frames of a stream; name a file or folder")
    if report is not None and kind is Kind.FOLDER:
        raise UsageError(f"{source}: is a folder, and --report is of one photo or video; give one of them, or leave it")
    if resume and kind is not Kind.VIDEO:
        raise UsageError(f"{source}: is a {kind.value}, and only a video is continued with --resume; leave it out")
    if resume and str(out) == PIPE:
        raise UsageError(f"{out}: what went into a pipe is gone, and not continued with --resume; leave it out")
    if kind is Kind.PHOTO:
        photos.check(Path(source), out, overwrite=overwrite)


def _likeness(rule: Rule, arcface: Path | None, finding: Finding, *, reported: bool) -> dict[str, Any]:
    """How like the reference a face is, where one is asked for."""
    if rule.kind != REFERENCE or rule.photo is None:
        if arcface is not None and not reported:
            raise UsageError("--arcface compares faces; add --face reference:PHOTO or --report DIR, or leave it out")
        return {}
    if arcface is None:
        raise UsageError(f"--face reference:{rule.photo}: faces are compared by ArcFace; add --arcface FILE")
    from mfs_edge.swap import reference

    return {"likeness": reference.Reference(rule.photo, arcface, finding), "least": reference.LEAST}


@dataclass(frozen=True)
class _Ends:
    """Opens what streams come from and go to; only pipes have to be told what they carry."""

    size: str | None
    format: str | None
    rate: str | None

    def check(self, kind: Kind, source: PathLike, out: Path) -> None:
        """Raise UsageError for what is told of no pipe."""
        of_input = {"--pipe-size": self.size, "--pipe-rate": self.rate}
        told = [name for name, value in of_input.items() if value is not None and kind is not Kind.PIPE]
        if self.format is not None and kind is not Kind.PIPE and str(out) != PIPE:
            told.append("--pipe-format")
        if told:
            raise UsageError(f"{' and '.join(told)}: of frames in a pipe, and {source} is a {kind.value}; leave it out")

    def source(self, kind: Kind, source: PathLike, steps: Steps) -> Any:
        """A ``Source`` that closes itself."""
        if kind is Kind.VIDEO:
            return video.open(Path(source), note=steps.note)
        if kind is Kind.CAMERA:
            return camera.open(str(source))
        size = pipe_form.parsed_size(self.size) if self.size else None
        rate = pipe_form.parsed_rate(self.rate) if self.rate else None
        return pipe.open(sys.stdin.buffer, note=steps.note, format=self.format, size=size, rate=rate)

    def sink(self, out: Path, like: Any, steps: Steps, options: Mapping[str, Any]) -> Any:
        """A ``Sink`` that closes itself."""
        if str(out) == PIPE:
            steps.note(provenance.cannot("a pipe"))
            return pipe.create(sys.stdout.buffer, like=like, note=steps.note, format=self.format)
        return video.create(out, like=like, note=steps.note, **options)


def _swapped(
    job: Job, kind: Kind, source: PathLike, out: Path, steps: Steps, ends: _Ends, *, resume: bool
) -> list[Done]:
    """The one place where it is decided who does the work."""
    match kind:
        case Kind.PHOTO:
            with steps.step(f"swap {source}"):
                return [photos.one(job, Path(source), out)]
        case Kind.FOLDER:
            return photos.folder(job, Path(source), out, steps)
        case _:
            return [_stream(job, kind, source, out, steps, ends, resume=resume)]


def _stream(job: Job, kind: Kind, source: PathLike, out: Path, steps: Steps, ends: _Ends, *, resume: bool) -> Done:
    watching = streams.watching(job)
    origin = Path(source) if kind is Kind.VIDEO else None

    def made() -> Made:
        people = sorted(watching.people) or [0]
        return job.session.made(people=people, faces=watching.faces, frames=watching.frames)

    def finish(path: Path) -> None:
        if watching.faces:
            job.telling.say(path, made(), origin)

    with ends.source(kind, source, steps) as frames:
        options = {"overwrite": job.overwrite, "resume": resume, "key": _key(job), "memory": watching, "finish": finish}
        with ends.sink(out, frames, steps, options) as sink, steps.streamed(f"swap {source}") as told:
            if watching.frames and job.telling.report is not None:
                steps.note(f"{job.telling.report}: tells of frame {watching.frames} and those behind it; begin again "
                           "with --overwrite in the place of --resume for a report of all")  # fmt: skip
            streams.run(job, watching, frames, sink, told)
        job.finding.ended(watching.frames)
        size = (frames.width, frames.height)
    done = Done(str(source), str(out), SWAPPED, "", *size, frames=watching.frames, swapped=watching.faces, made=made())
    if watching.faces:
        return done
    why = f"{source}: no face was swapped in any of {counted(watching.frames, 'frame')}; {out} shows what it showed"
    return replace(done, status=NO_FACE, reason=why)


def _key(job: Job) -> dict[str, Any]:
    """What decides about the frames of a video; a run is continued under the same only."""
    made = job.session.made(people=range(len(job.session.people)))
    landmarks, photo = job.finding.landmarks, job.rule.photo
    return {
        "artefact": made.artefact_sha256,
        "identities": list(made.identity_sha256s),
        "--face": [job.rule.kind, job.rule.number, files.sha256(photo) if photo else None],
        "--arcface": getattr(job.likeness, "arcface_sha256", None),
        "--landmarks": files.sha256(landmarks) if landmarks else None,
        "finder": job.finding.finder is not None,
        "--label": job.telling.label,
    }
