"""``mfs-edge identity``: from a picture to ``id.npy``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mfs_edge.base import files, images
from mfs_edge.base.errors import OutputError, UsageError
from mfs_edge.base.progress import Steps
from mfs_edge.face import landmark_files, record
from mfs_edge.face.crop import Crop, crop
from mfs_edge.face.landmark_files import Landmarks
from mfs_edge.load import checkpoint as checkpoints
from mfs_edge.load import identity as identities
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.pipeline import reading


@dataclass(frozen=True)
class Identified:
    """An identity, and what it was read from."""

    identity: Identity
    source: record.Record
    preview: Path | None  # the aligned crop


def identify(
    photo: Path,
    *,
    arcface: Path,
    landmarks: Path | None,
    out: Path,
    overwrite: bool,
    steps: Steps,
    preview: bool = True,
    sha256: str | Sequence[str] = (),
) -> Identified:
    """Read an identity from a picture and write it to ``out``; beside it, what it was read from.

    Args:
        photo: an aligned, square face crop, or any photo with ``landmarks``.
        arcface: its checkpoint.
        landmarks: a file as :func:`mfs_edge.face.landmark_files.read` takes it.
        out: a ``.npy`` file; ``id.npy.json`` and ``id.npy.png`` are written beside it.
        overwrite: replace what is there.
        preview: also write the aligned crop, as a ``.png``.
        steps: told of progress.
        sha256: the hash that ArcFace's file must have; none leaves it unchecked.

    Raises:
        MfsEdgeError: one line saying what is wrong; nothing was written.
    """
    hashes = checkpoints.expected(sha256)
    if out.suffix != ".npy":
        raise UsageError(f"{out}: an identity is a .npy file; name it so")
    shown = out.with_name(f"{out.name}.png") if preview else None
    for path in (out, record.place(out), shown):
        if path is not None and path.exists() and not overwrite:
            raise OutputError(f"{path}: exists; choose another -o, or add --overwrite to replace it")
    points = landmark_files.read(landmarks) if landmarks is not None else None
    face = crop(images.read_rgb(photo), str(photo), points)
    with steps.step("read ArcFace"):
        network = Embedder(reading.read(arcface, expect="arcface", sha256=hashes, steps=steps))
    with steps.step("run ArcFace"):
        found = network(face.arcface_input)
    source = _record(photo, face, points, found, shown)
    if shown is not None:
        images.write_rgb(shown, face.image)
    record.save(source, out)
    identities.save(found, out)  # last: what lies beside it only counts for these very values
    return Identified(found, source, shown)


def _record(photo: Path, face: Crop, points: Landmarks | None, found: Identity, shown: Path | None) -> record.Record:
    whole = record.Record(
        identity_sha256=found.sha256,
        picture_sha256=files.sha256(photo),
        understood="an aligned face crop, the whole picture",
        preview=shown.name if shown is not None else None,
    )
    if points is None or face.landmarks is None or face.alignment is None:
        return whole
    unit = "fractions of the picture" if points.fractions else "pixels"
    return whole.model_copy(
        update={
            "understood": f"{points.form}, in {unit}",
            "landmarks": tuple((round(float(x), 2), round(float(y), 2)) for x, y in face.landmarks),
            "eye_distance": round(face.alignment.eyes, 1),
            "residual": round(face.alignment.residual, 1),
        }
    )
