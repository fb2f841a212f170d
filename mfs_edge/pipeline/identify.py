"""``mfs-edge identity``: from a picture to ``id.npy``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mfs_edge.base import images
from mfs_edge.base.errors import OutputError, UsageError
from mfs_edge.base.progress import Steps
from mfs_edge.face import landmarks as face_landmarks
from mfs_edge.face.crop import arcface_input
from mfs_edge.load import checkpoint as checkpoints
from mfs_edge.load import identity as identities
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.pipeline import reading


def identify(
    photo: Path,
    *,
    arcface: Path,
    landmarks: Path | None,
    out: Path,
    overwrite: bool,
    steps: Steps,
    sha256: str | Sequence[str] = (),
) -> Identity:
    """Read an identity from a picture and write it to ``out``.

    Args:
        photo: an aligned, square face crop, or any photo with ``landmarks``.
        arcface: its checkpoint.
        landmarks: a file of five ``x,y`` lines in pixels: both eyes, the nose, both mouth corners.
        out: a ``.npy`` file.
        overwrite: replace what is there.
        steps: told of progress.
        sha256: the hash that ArcFace's file must have; none leaves it unchecked.

    Raises:
        MfsEdgeError: one line saying what is wrong; nothing was written.
    """
    hashes = checkpoints.expected(sha256)
    if out.suffix != ".npy":
        raise UsageError(f"{out}: an identity is a .npy file; name it so")
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: exists; choose another -o, or add --overwrite to replace it")
    points = face_landmarks.read(landmarks) if landmarks is not None else None
    crop = arcface_input(images.read_rgb(photo), str(photo), points)
    with steps.step("read ArcFace"):
        network = Embedder(reading.read(arcface, expect="arcface", sha256=hashes, steps=steps))
    with steps.step("run ArcFace"):
        found = network(crop)
    identities.save(found, out)
    return found
