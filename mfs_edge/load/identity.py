"""An identity: the 512 values of an ArcFace embedding and its 512x7x7 feature map.

Identities are biometric data. They are stored as plain float32 arrays (``id.npy``,
[25600]: embedding, then feature map) and only ever named by their hash elsewhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mfs_edge.base import files, images
from mfs_edge.base.errors import IdentityError
from mfs_edge.face import crop
from mfs_edge.load import pickles
from mfs_edge.networks import spec

if TYPE_CHECKING:
    from mfs_edge.load.embed import Embedder

FEATURE_VALUES = int(np.prod(spec.FEATURE_MAP))
FLAT_VALUES = spec.EMBEDDING + FEATURE_VALUES
NORM_TOLERANCE = 1e-3
WRITE_IT = "write it with: mfs-edge identity PHOTO --arcface CKPT -o id.npy"
MIN_AGREEMENT = 0.99  # cosine of a given embedding and the one that --arcface computes


@dataclass(frozen=True)
class Identity:
    """One person, as the IIN reads them."""

    embedding: np.ndarray  # float32 [512], L2-normalised
    feature_map: np.ndarray  # float32 [512, 7, 7]
    notes: tuple[str, ...] = ()  # what had to be done to the input, for the manifest

    @property
    def flat(self) -> np.ndarray:
        """float32 [25600], the content of ``id.npy``."""
        return np.concatenate([self.embedding, self.feature_map.ravel()])

    @property
    def sha256(self) -> str:
        """Names the identity in manifests and artefacts without revealing it."""
        return hashlib.sha256(self.flat.tobytes()).hexdigest()


def load(path: str | Path, embed: Embedder | None = None) -> Identity:
    """Read an identity in any of its forms.

    ``.npy`` [25600]; ``.npy`` [512, 7, 7] (the head of ``embed`` adds the embedding);
    ``.npz`` with ``embedding`` and ``feature_map``; a picture of an aligned face, if
    ``embed`` is given. An embedding that came with its feature map is checked against
    ``embed``, if given: two files mixed up would swap in a face that nobody has.

    Raises:
        IdentityError: the file is none of these, or its values cannot be used.
    """
    path = files.require_file(Path(path), "identity")
    if images.kind(path) is not None or path.suffix.lower() in images.SUFFIXES:  # whatever it is called
        return _need(embed, path, "a picture")(crop.arcface_input(images.read_rgb(path), str(path)))
    arrays = _arrays(path)
    if set(arrays) >= {"embedding", "feature_map"}:
        embedding, feature_map = (_checked(arrays[name], path, name) for name in ("embedding", "feature_map"))
        if embedding.size != spec.EMBEDDING or feature_map.size != FEATURE_VALUES:
            raise IdentityError(
                f"{path}: has embedding {list(embedding.shape)} and feature_map {list(feature_map.shape)}, "
                f"expected [512] and [512, 7, 7]; {WRITE_IT}"
            )
        return _agreeing(_identity(embedding, feature_map, path), path, embed)
    if set(arrays) != {""}:
        raise IdentityError(
            f"{path}: holds {', '.join(map(pickles.quoted, sorted(arrays))) or 'nothing'}, expected arrays embedding "
            f"and feature_map; {WRITE_IT}"
        )
    return _from_array(_checked(arrays[""], path, "the array"), path, embed)


def _from_array(array: np.ndarray, path: Path, embed: Embedder | None) -> Identity:
    if array.shape in ((FLAT_VALUES,), (1, FLAT_VALUES)):
        flat = array.ravel()
        return _agreeing(_identity(flat[: spec.EMBEDDING], flat[spec.EMBEDDING :], path), path, embed)
    if array.shape in (spec.FEATURE_MAP, (1, *spec.FEATURE_MAP)):
        return _identity(_need(embed, path, "a feature map alone").head(array), array, path)
    if array.size == spec.EMBEDDING:
        raise IdentityError(
            f"{path}: is an embedding alone, but the IIN also reads the 512x7x7 feature map, which cannot be "
            "recovered from it; write both with: mfs-edge identity PHOTO --arcface CKPT -o id.npy"
        )
    raise IdentityError(
        f"{path}: has shape {list(array.shape)}, expected [25600] (512 embedding values, then the 512x7x7 feature "
        f"map) or [512, 7, 7]; {WRITE_IT}"
    )


def _need(embed: Embedder | None, path: Path, what: str) -> Embedder:
    if embed is None:
        raise IdentityError(f"{path}: is {what}; give --arcface CKPT so that the embedding can be computed")
    return embed


def _agreeing(identity: Identity, path: Path, embed: Embedder | None) -> Identity:
    """``identity``, once its embedding is known to be that of its feature map."""
    if embed is not None:
        cosine = float(embed.head(identity.feature_map) @ identity.embedding)
        if not cosine >= MIN_AGREEMENT:
            raise IdentityError(
                f"{path}: the embedding is not that of its feature map under {embed.source} (cosine {cosine:.3f}); "
                "give the ArcFace checkpoint that it was made with, or compute the identity again"
            )
    return identity


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Name -> array of an ``.npz``; a ``.npy`` has the one name ``""``."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            # Other members are only named in a message, not read.
            wanted = {"embedding", "feature_map"}
            return {name: loaded[name] if name in wanted else np.empty(0) for name in loaded.files}
    except Exception as error:  # numpy raises ValueError, EOFError, BadZipFile, ... on damaged files
        with path.open("rb") as file:
            head = file.read(6)
        pickled = head.startswith(b"\x80") or "Object arrays" in str(error)
        reason = "it holds Python objects" if pickled else "it is damaged or of another format"
        raise IdentityError(f"{path}: is not a readable .npy or .npz identity ({reason}); {WRITE_IT}") from error


def _checked(array: np.ndarray, path: Path, name: str) -> np.ndarray:
    if array.dtype.kind != "f":
        raise IdentityError(f"{path}: {name} has dtype {array.dtype.name}, expected float32")
    with np.errstate(over="ignore"):
        array = np.array(array, np.float32, order="C")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise IdentityError(f"{path}: {name} has {bad} values that are NaN or infinite; compute the identity again")
    return array


def _identity(embedding: np.ndarray, feature_map: np.ndarray, path: Path) -> Identity:
    """An Identity with the embedding normalised, as the networks expect it."""
    embedding = embedding.ravel()
    norm = float(np.linalg.norm(embedding.astype(np.float64)))
    notes: tuple[str, ...] = ()
    if norm < NORM_TOLERANCE:
        raise IdentityError(f"{path}: the embedding is zero (length {norm:g}); compute the identity again")
    if abs(norm - 1) > NORM_TOLERANCE:
        embedding = (embedding / norm).astype(np.float32)
        notes = (f"{path.name}: the embedding had length {norm:.4g} and was L2-normalised",)
    return Identity(embedding, feature_map.reshape(spec.FEATURE_MAP), notes)


def save(identity: Identity, path: Path) -> None:
    """Write ``id.npy``: float32 [25600], no pickle, atomically."""
    with files.atomic(path) as temporary, temporary.open("wb") as file:
        np.save(file, identity.flat, allow_pickle=False)
