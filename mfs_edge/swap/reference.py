"""Whether a face is the one in a photo: by ArcFace, as identities are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mfs_edge.base import extras, images
from mfs_edge.base.errors import IdentityError, InputError
from mfs_edge.face import align, crop
from mfs_edge.face.found import Face
from mfs_edge.load import checkpoint
from mfs_edge.load.embed import Embedder
from mfs_edge.swap.finding import Finding

# Cosine of two embeddings. ArcFace's own authors tell people apart at about 0.3; above this, strangers are rare.
LEAST = 0.35


def embedder(arcface: Path) -> Embedder:
    """ArcFace of a checkpoint, or of FILE#NAME.

    Raises:
        CheckpointError: it is not ArcFace's.
        MissingDependency: torch is not installed.
    """
    extras.require("torch", "compile")
    return Embedder(checkpoint.load(arcface, expect="arcface"))


class Reference:
    """How like the person in a photo a face is, -1 to 1."""

    def __init__(self, photo: Path, arcface: Path, finding: Finding) -> None:
        """Read both.

        Args:
            photo: with the person's face as its largest, or an aligned square crop of it.
            arcface: its checkpoint.
            finding: finds the face.

        Raises:
            InputError: there is no face in it, or the checkpoint is not ArcFace's.
            MissingDependency: torch is not installed.
        """
        self._network = embedder(arcface)
        self.arcface_sha256 = self._network.checkpoint.sha256
        self._known = self._embedding(_cropped(photo, finding))

    def __call__(self, image: np.ndarray, face: Face) -> float:
        """Of a face in ``image``, uint8 [H, W, 3] RGB."""
        return float(self._embedding(align.align(image, face.landmarks, align.CROP)) @ self._known)

    def _embedding(self, picture: np.ndarray) -> np.ndarray:
        found = self._network(crop.reduced(picture)).embedding.ravel().astype(np.float64)
        return found / np.linalg.norm(found)


def _cropped(photo: Path, finding: Finding) -> np.ndarray:
    """The face, uint8 [S, S, 3] RGB: the largest that is found; else a square picture is one."""
    image = images.read_rgb(photo)
    finder = Finding(finder=finding.finder, models=finding.models)
    if finding.landmarks is None or image.shape[0] != image.shape[1]:
        found = finder.picture(image, photo)
        if found:
            return align.align(image, found[0].landmarks, align.CROP)
    try:
        return crop.aligned(image, str(photo)).picture
    except IdentityError as error:
        raise InputError(
            f"{photo}: no face found in the reference; give a photo with the person's face, or an aligned square crop"
        ) from error
