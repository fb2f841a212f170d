"""``manifest.json``: what a folder of artefacts holds, where it came from and what was proven.

Typed, diffable (no clock times, stable order) and strict: an unknown key is an error. An
identity is named by its hash, which traces consent; the artefacts beside it hold the person.
"""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from mfs_edge import target
from mfs_edge.base import files, runs, text
from mfs_edge.base.artefact import Artefact
from mfs_edge.base.errors import InputError
from mfs_edge.base.fidelity import Fidelity
from mfs_edge.base.runs import Run
from mfs_edge.program import Tensor


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Verification(_Record):
    """What was compared, and how it went."""

    status: Literal["passed", "failed", "not verified"]
    verified: Literal["runtime", "evaluator", "no"]  # what executed the written file
    run: str  # the runtime that ran it, or why none did
    execution: str = ""  # what that runtime computes on which type
    pictures: str = ""  # what it was judged on
    min_psnr: float | None = None  # dB; the mean of each output must reach it
    swapped: Fidelity | None = None
    mask: Fidelity | None = None
    worst_picture: str | None = None  # a PNG beside the artefact; integers only
    probe: str | None = None  # what the proven session makes of a fixed picture, see sample.probe
    saturation: dict[str, float] | None = None  # share of values beyond each tensor's range; integers only


class Source(_Record):
    """A file that went in."""

    name: str
    sha256: str


class ArtefactRecord(_Record):
    """One emitted model."""

    file: str  # relative to the manifest; a package is a folder
    files: dict[str, str]  # every file or folder of it -> sha256
    bytes: int
    target: str
    precision: str
    io: str
    size: int  # pixels
    optimize: int
    task: Literal["swap", "enrol"] = "swap"  # a picture to a swapped one, or a face to a pack's payload
    options: dict[str, str | int | float | bool | None] = {}  # the target's own, as they were used
    checkpoint: Source
    arcface: Source | None = None  # enrolment only
    fits: Source | None = None  # enrolment only: the base's artefact whose runs its payloads fill, in their order
    identity_sha256: str  # empty for an enrolment, which holds nobody
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: dict[str, int]
    parameters: int
    macs: int
    identities: int = 1  # that what they share was decided over
    base: str = ""  # the file beside it that tells how another identity is written into it; empty: it takes no packs
    base_sha256: str = ""
    runs: tuple[Run, ...] = ()  # the bytes that another identity fills otherwise
    oldest_runtime: str = ""  # that has run such files, see the target's ``oldest``; empty if its target names none
    arithmetic: str = ""  # what was done so that integers mean the same on every CPU; integers only
    verification: Verification
    warnings: tuple[str, ...] = ()

    @field_validator("file")
    @classmethod
    def _file_inside(cls, name: str) -> str:
        return _inside(name)

    @field_validator("files")
    @classmethod
    def _files_inside(cls, digests: dict[str, str]) -> dict[str, str]:
        return {_inside(name): digest for name, digest in digests.items()}

    @field_validator("base")
    @classmethod
    def _base_inside(cls, name: str) -> str:
        return _inside(name) if name else name

    @field_validator("runs")
    @classmethod
    def _runs_apart(cls, found: tuple[Run, ...]) -> tuple[Run, ...]:
        return _apart(found)

    def within(self, folder: Path) -> Artefact:
        """Everything recorded here, in ``folder``."""
        base = PurePosixPath(self.file).parent
        others = (os.path.relpath(name, base) for name in self.files if name != self.file)
        return Artefact(folder / self.file, tuple(Path(name).as_posix() for name in others))

    def changed(self, folder: Path) -> tuple[str, ...]:
        """What is not in ``folder`` as it was recorded: missing, other bytes, or a part without a recorded hash.

        Raises:
            InputError: a part leads out of ``folder`` by a symbolic link.
        """
        found = {name: files.confined(folder, name, source=folder / self.file) for name in self.files}
        other = {name for name, path in found.items() if not _holds(path, self.files[name])}
        return tuple(sorted(other | (self._parts(folder) - found.keys())))

    def intact(self, folder: Path) -> bool:
        """Whether ``folder`` holds every part of the artefact with the very bytes that were recorded."""
        return not self.changed(folder)

    def _parts(self, folder: Path) -> set[str]:
        """What the artefact consists of by its target's word, relative to ``folder``."""
        kind, path = target.registered().get(self.target), folder / self.file
        if kind is None or not path.exists():
            return {self.file}
        try:
            names = target.artefact_of(kind, path).names
        except InputError as error:  # damaged, or a part is missing or elsewhere
            return {str(error)}
        return {(PurePosixPath(self.file).parent / name).as_posix() for name in names}


def _inside(name: str) -> str:
    if not files.plain(name):
        raise ValueError(f"{name!a} is not inside of the manifest's folder")
    return name


def _apart(found: tuple[Run, ...]) -> tuple[Run, ...]:
    """``found``, if each is described soundly and none overlaps another."""
    for run in found:
        _inside(run.file)
        if run.offset < 0 or run.bytes <= 0 or run.dtype not in (*runs.TYPES, runs.TEXT, runs.DERIVED):
            raise ValueError(f"the run of {run.tensor!a} lies nowhere, or is of no known type")
        if sorted(run.axes) != list(range(len(run.axes))):
            raise ValueError(f"the run of {run.tensor!a} has no possible order of axes")
    for first, second in pairwise(sorted(found, key=lambda run: (run.file, run.offset))):
        if first.file == second.file and first.end > second.offset:
            raise ValueError(f"the runs of {first.tensor!a} and {second.tensor!a} overlap")
    return found


def _holds(path: Path, digest: str) -> bool:
    try:
        return path.exists() and files.sha256(path) == digest
    except OSError:  # replaced or removed meanwhile, or unreadable
        return False


class Manifest(_Record):
    """Everything in one output folder."""

    schema_version: Literal[1] = 1
    notice: str = (
        "Synthetic media: obtain the consent of whoever is shown and disclose that faces were swapped. "
        "Every artefact and pack is biometric data: whoever has the checkpoint can compute the face embedding of the "
        "person in it back (measured: fp32, fp16 and int8), so keep it like a photograph and delete it when consent "
        "ends; the hash of the identity traces consent and hides nobody."
    )
    versions: dict[str, str]  # mfs-edge, Python and the libraries that took part
    artefacts: tuple[ArtefactRecord, ...]
    warnings: tuple[str, ...] = ()

    def dumps(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"

    def files(self) -> set[str]:
        """The first path component of every recorded file."""
        named = (name for artefact in self.artefacts for name in (*artefact.files, artefact.base) if name)
        return {Path(name).parts[0] for name in named}


def read(path: Path) -> Manifest:
    """The manifest in ``path``.

    Raises:
        InputError: it is missing, damaged, or has keys that this version does not know.
    """
    try:
        return Manifest.model_validate_json(text.read(path, "manifest"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{path}: is not a manifest of this version ({where}: {first['msg']}); compile again"
        ) from error
