"""One artefact of a base, ready to give packs: its bytes, and where an identity's go."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge import target
from mfs_edge.base import files
from mfs_edge.base.errors import InputError, LoweringError
from mfs_edge.base.runs import DERIVED
from mfs_edge.bundle.manifest import ArtefactRecord
from mfs_edge.bundle.publication import MANIFEST
from mfs_edge.pack import runs
from mfs_edge.pack.container import Pack, Part, Patch, patched
from mfs_edge.quantize.coding import Coding
from mfs_edge.target import Target

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class BaseArtefact:
    """What every identity of the base shares."""

    record: ArtefactRecord
    kind: Target
    path: Path
    contents: Mapping[str, bytes]  # every file, relative to its folder
    digests: Mapping[str, str]

    @classmethod
    def load(cls, folder: Path, record: ArtefactRecord) -> BaseArtefact:
        """From the folder of a manifest.

        Raises:
            InputError: it is not there as it was recorded.
        """
        path = folder / record.file
        if changed := record.changed(folder):
            raise InputError(f"{folder / changed[0]}: is not as its manifest says; compile the base again")
        kind = target.get(record.target)
        kind.read(path)  # what follows from its bytes is computed as of a file of that format
        contents = kind.contents(path)
        for run in record.runs:
            if run.end > len(contents.get(run.file, b"")):
                raise InputError(
                    f"{folder / MANIFEST}: its run of {run.tensor} lies behind the end of {run.file}; compile the base "
                    "again"
                )
        return cls(record, kind, path, contents, {name: _sha256(data) for name, data in contents.items()})

    def pack(self, owned: Mapping[str, np.ndarray], identity_sha256: str) -> Pack:
        """The pack of the identity whose arrays are ``owned``: [C, 1, k, k] or [O, I, 1, 1], as of ``Coding.owned``.

        Raises:
            LoweringError: they do not fit the runs that the manifest names.
        """
        own = [run for run in self.record.runs if run.dtype != DERIVED]
        if lost := sorted(owned.keys() - {run.tensor for run in own}):
            raise LoweringError(f"{self.path}: its manifest does not say where {lost[0]} lies; compile the base again")
        patches = [Patch(run.file, run.offset, runs.filled(run, owned, identity_sha256)) for run in own]
        fresh = patched(self.contents, patches)
        derived = self._derived(fresh)
        return self._pack(sorted([*patches, *derived], key=_place), identity_sha256, patched(fresh, derived))

    def gives(self, pack: Pack, identity_sha256: str) -> bool:
        """Whether ``pack`` is one of this artefact and that identity, and gives what it says."""
        if self._pack([], identity_sha256, self.contents).base != pack.base:
            return False
        fresh = patched(self.contents, pack.patches)
        return all(self._digest(name, fresh[name]) == part.result for name, part in pack.files.items())

    def _pack(self, patches: list[Patch], identity_sha256: str, result: Mapping[str, bytes]) -> Pack:
        parts = {
            name: Part(len(held), self.digests[name], self._digest(name, result[name]))
            for name, held in self.contents.items()
        }
        record = self.record
        return Pack(
            target=record.target,
            precision=record.precision,
            size=record.size,
            artefact=self.path.name,
            identity_sha256=identity_sha256,
            checkpoint_sha256=record.checkpoint.sha256,
            files=parts,
            patches=tuple(patches),
        )

    def _digest(self, name: str, data: bytes) -> str:
        return self.digests[name] if data is self.contents[name] else _sha256(data)

    def _derived(self, fresh: Mapping[str, bytes]) -> list[Patch]:
        """What follows from the identity's bytes; where the base has it."""
        expected = {(run.file, run.offset, run.bytes) for run in self.record.runs if run.dtype == DERIVED}
        found = self.kind.derived(self.path, fresh)
        if {(one.file, one.offset, len(one.data)) for one in found} != expected:
            raise LoweringError(f"{self.path}: its checksums lie elsewhere than its manifest says; compile it again")
        return [Patch(one.file, one.offset, one.data) for one in found]


def _place(patch: Patch) -> tuple[str, int]:
    return patch.file, patch.offset


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def taking_packs(folder: Path, records: tuple[ArtefactRecord, ...]) -> tuple[ArtefactRecord, ...]:
    """Those of ``records`` that packs can be made for.

    Raises:
        InputError: there are none.
    """
    found = tuple(record for record in records if record.base and record.runs)
    if not found:
        raise InputError(
            f"{folder}: holds no artefact that takes packs; compile one with --optimize 1 to a target that has them"
        )
    return found


def coding_of(folder: Path, record: ArtefactRecord) -> Coding:
    """How the base in ``folder`` stores an identity in the recorded artefact.

    Raises:
        InputError: the file that says so is missing, damaged or another one.
    """
    path = files.require_file(files.confined(folder, record.base, source=folder / MANIFEST), "base")
    if files.sha256(path) != record.base_sha256:
        raise InputError(f"{path}: is not the base that {record.file} was compiled with; compile it again")
    return Coding.load(path)
