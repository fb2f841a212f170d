"""What a run says of its results: in the files themselves, on the pictures, and in a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mfs_edge.base.errors import UsageError
from mfs_edge.swap import changes, label, provenance
from mfs_edge.swap.changes import Collector
from mfs_edge.swap.frame import Chosen
from mfs_edge.swap.made import Made
from mfs_edge.swap.provenance import Signer

PathLike = str | Path
SMALL = "is too small for a label that can be read; none was drawn"


@dataclass
class Telling:
    """Who signs, whether a label is drawn, and what a report is made of."""

    signer: Signer
    note: Callable[[str], None]
    label: bool = False
    report: Path | None = None
    collector: Collector | None = None
    overwrite: bool = False
    _told_small: bool = False

    def say(self, path: Path, made: Made, source: Path | None) -> None:
        """Write into a finished file, still under its temporary name, what it is."""
        for line in provenance.say(path, made, self.signer, source=source):
            self.note(line)

    def frame(
        self, pixels: np.ndarray, before: np.ndarray | None, chosen: Sequence[Chosen], index: int, seconds: float
    ) -> None:
        """A frame is swapped.

        Args:
            pixels: uint8 [H, W, 3] RGB; the label is drawn into it.
            before: the same before the swap, where a report is made.
            chosen: the faces.
            index: of the frame.
            seconds: its time.
        """
        if self.collector is not None and before is not None:
            faces = [one.face for one in chosen]
            raw = [replace(face, landmarks=face.unsmoothed) for face in faces if face.unsmoothed is not None]
            self.collector.add(index, seconds, before, pixels, faces, raw)
        if self.label and not label.draw(pixels) and not self._told_small:
            self._told_small = True
            self.note(f"a picture of {pixels.shape[1]}x{pixels.shape[0]} {SMALL}")

    def copied(self, pixels: np.ndarray) -> np.ndarray | None:
        """What a frame, uint8 [H, W, 3], was before its faces are swapped; None where no report asks."""
        return pixels.copy() if self.collector is not None else None

    def finish(self, made: Made) -> tuple[Path, ...]:
        """Write the report; the files that were written."""
        if self.collector is None or self.report is None:
            return ()
        return tuple(self.collector.write(self.report, made, overwrite=self.overwrite))


def telling(
    *,
    sign_cert: PathLike | None,
    sign_key: PathLike | None,
    label: bool,
    report: PathLike | None,
    arcface: PathLike | None,
    identity: PathLike | None,
    overwrite: bool,
    note: Callable[[str], None],
) -> Telling:
    """Make sure of everything before any work; for the arguments see ``swap.run.swap``.

    Raises:
        UsageError, InputError: a certificate, key, identity or ArcFace cannot be used.
        OutputError: the report's folder holds another one.
        MissingDependency: what signs, or torch for ArcFace, is not installed.
    """
    if identity is not None and (report is None or arcface is None):
        raise UsageError("--identity is what --report compares with, by ArcFace; add --report DIR and --arcface FILE")
    signer = Signer.of(*(None if path is None else Path(path) for path in (sign_cert, sign_key)))
    for line in signer.notes:
        note(line)
    if report is None:
        return Telling(signer, note, label)
    Collector.require_free(Path(report), overwrite=overwrite)
    return Telling(signer, note, label, Path(report), _collector(arcface, identity), overwrite)


def _collector(arcface: PathLike | None, identity: PathLike | None) -> Collector:
    if arcface is None:
        return changes.Collector()
    from mfs_edge.load import identity as identities
    from mfs_edge.swap.reference import embedder

    network = embedder(Path(arcface))
    source = None if identity is None else identities.load(identity).embedding.ravel()
    return changes.Collector(arcface=network, source=source)
