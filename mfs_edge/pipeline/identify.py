"""``mfs-edge identity``: from a picture to ``id.npy``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfs_edge.base import files, images
from mfs_edge.base.errors import IdentityError, OutputError, UsageError
from mfs_edge.base.progress import Steps
from mfs_edge.face import crop, landmark_files
from mfs_edge.face import landmarks as face_landmarks
from mfs_edge.face.detect import Detector
from mfs_edge.load import checkpoint as checkpoints
from mfs_edge.load import identity as identities
from mfs_edge.load import provenance
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.load.provenance import Provenance
from mfs_edge.pipeline import reading

AUTO = Path("auto")  # in place of a landmarks file
SHOWN = 5  # faces in a message


@dataclass(frozen=True)
class Identified:
    """An identity, and what was understood of the picture."""

    identity: Identity
    record: Provenance
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
    face_models: Path | None = None,
) -> Identified:
    """Read an identity from a picture and write it to ``out``, with a record and the aligned crop beside it.

    Args:
        photo: an aligned, square face crop, or any photo with ``landmarks``.
        arcface: its checkpoint.
        landmarks: a file of five points: both eyes, the nose, both mouth corners; see ``face.landmark_files``. Or
            ``auto``: the one face of the photo is found.
        out: a ``.npy`` file.
        overwrite: replace what is there.
        preview: also write the aligned crop, as a ``.png``.
        steps: told of progress.
        sha256: the hash that ArcFace's file must have; none leaves it unchecked.
        face_models: the folder of the models that find faces, for ``auto``; see ``face.models.find``.

    Raises:
        MfsEdgeError: one line saying what is wrong; nothing was written.
    """
    hashes = checkpoints.expected(sha256)
    if face_models is not None and landmarks != AUTO:
        raise UsageError("--face-models names what finds faces, and is of use with --landmarks auto only")
    shown = provenance.preview_of(out) if preview else None
    _check_places(photo, landmarks, out, shown, overwrite=overwrite)
    picture = images.read_rgb(photo)
    points = None
    if landmarks == AUTO:
        with steps.step("find the face"):
            points = only_face(picture, str(photo), face_models)
    elif landmarks is not None:
        points = landmark_files.read(landmarks)
    found = crop.aligned(picture, str(photo), points)
    if found.fit is not None and found.fit.likeness < face_landmarks.DOUBTFUL:
        steps.note(f"{photo}: the aligned crop is little like a face ({found.fit.likeness:.2f}); look at it")
    with steps.step("read ArcFace"):
        network = Embedder(reading.read(arcface, expect="arcface", sha256=hashes, steps=steps))
    with steps.step("run ArcFace"):
        identity = network(crop.reduced(found.picture))
    record = _record(found, photo, network.checkpoint.sha256, shown)
    if shown is not None:
        images.write_rgb(shown, found.picture)
    identities.save(identity, out)
    provenance.save(record, out)  # last: it names the hash of the others' content
    return Identified(identity, record, shown)


def only_face(picture: np.ndarray, name: str, models: Path | None) -> np.ndarray:
    """The five points, float64 [5, 2] pixels, of the one face in a picture, uint8 [H, W, 3] RGB.

    Raises:
        IdentityError: there is none, or more than one: whose identity is read is not for a detector to choose.
    """
    faces = Detector(models)(picture)
    if len(faces) == 1:
        return faces[0].landmarks
    if not faces:
        raise IdentityError(
            f"{name}: no face was found; give its five points with --landmarks FILE, or a sharper, more frontal photo"
        )
    shown = ", ".join(f"at {x:.0f},{y:.0f}" for x, y in (face.landmarks.mean(axis=0) for face in faces[:SHOWN]))
    more = f" and {len(faces) - SHOWN} more" if len(faces) > SHOWN else ""
    raise IdentityError(
        f"{name}: {len(faces)} faces were found ({shown}{more}, the largest first); cut out the one that is meant, or "
        "give its five points with --landmarks FILE"
    )


def _check_places(photo: Path, landmarks: Path | None, out: Path, shown: Path | None, *, overwrite: bool) -> None:
    if landmarks == AUTO:
        if AUTO.exists():
            raise UsageError(f"{AUTO}: is also a file here; rename it, so that --landmarks {AUTO} can only mean one")
        landmarks = None
    if out.suffix != ".npy":
        raise UsageError(f"{out}: an identity is a .npy file; name it so")
    for path in filter(None, (out, shown, provenance.beside(out))):
        for given in filter(None, (photo, landmarks)):
            if path.exists() and given.exists() and path.samefile(given):
                raise UsageError(f"{path}: is what the identity is read from, and would be replaced; choose another -o")
        if path.exists() and not overwrite:
            raise OutputError(f"{path}: exists; choose another -o, or add --overwrite to replace it")


def _record(found: crop.Aligned, photo: Path, arcface: str, shown: Path | None) -> Provenance:
    points = None if found.landmarks is None else [[round(float(v), 3) for v in row] for row in found.landmarks]
    record = Provenance(photo.name, files.sha256(photo), arcface, points, preview=shown.name if shown else None)
    if found.fit is None:
        return record
    fit = {key: round(value, 3) for key, value in vars(found.fit).items()}
    return Provenance(**{**vars(record), **fit})
