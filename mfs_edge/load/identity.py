"""An identity: the 512 values of an ArcFace embedding and its 512x7x7 feature map.

Identities are biometric data. They are stored as plain float32 arrays (``id.npy``,
[25600]: embedding, then feature map). A network that one was folded into is biometric data too:
the embedding can be computed back from it (``benchmarks/privacy.py``).
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
from mfs_edge.load import arrays, layout, limits, pickles
from mfs_edge.load.arrays import Stored
from mfs_edge.networks import spec

if TYPE_CHECKING:
    from mfs_edge.load.embed import Embedder

NORM_TOLERANCE = 1e-3
_SHOWN = 6  # names in a message
WRITE_IT = "write it with: mfs-edge identity PHOTO --arcface CKPT -o id.npy"
_OBJECTS = "it holds Python objects"
_ALONE = {"", "arr_0", "embedding", "feature_map"}  # np.savez calls an array without a name "arr_0"
LARGEST_FEATURE = 1e4  # a thousand times what ArcFace gives; the networks overflow some powers of ten above it
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
        """Names the identity in manifests and artefacts, so that they can be traced to a consent. It hides nothing."""
        return hashlib.sha256(self.flat.tobytes()).hexdigest()


def load(path: str | Path, embed: Embedder | None = None) -> Identity:
    """Read an identity in any of its forms.

    ``.npy`` [25600]; ``.npy`` [512, 7, 7] (the head of ``embed`` adds the embedding);
    ``.npz`` with ``embedding`` and ``feature_map``, or with one of the former; dimensions of
    1 do no harm, any other layout is refused with how to transpose it; a picture of an aligned face, if
    ``embed`` is given. An embedding that came with its feature map is checked against
    ``embed``, if given: two files mixed up would swap in a face that nobody has.

    Raises:
        IdentityError: the file is none of these, or its values cannot be used.
    """
    path = files.require_file(Path(path), "identity")
    if images.kind(path) is not None or path.suffix.lower() in images.SUFFIXES:  # whatever it is called
        return _need(embed, path, "a picture")(crop.arcface_input(images.read_rgb(path), str(path)))
    stored = _arrays(path)
    if set(stored) >= {"embedding", "feature_map"}:
        embedding = _read(stored["embedding"], layout.EMBEDDING, path, "embedding")
        feature_map = _read(stored["feature_map"], layout.FEATURE_MAP, path, "feature_map")
        return _agreeing(_identity(embedding, feature_map, path), path, embed)
    if len(stored) == 1 and not set(stored) - _ALONE:
        (name,) = stored
        return _from_array(stored[name], path, name or "the array", embed)
    names = ", ".join(map(pickles.quoted, sorted(stored)[:_SHOWN])) + (", ..." if len(stored) > _SHOWN else "")
    raise IdentityError(f"{path}: holds {names or 'nothing'}, expected arrays embedding and feature_map; {WRITE_IT}")


def _from_array(array: Stored, path: Path, name: str, embed: Embedder | None) -> Identity:
    core = layout.essential(array.shape)
    if core == layout.EMBEDDING:
        raise IdentityError(
            f"{path}: is an embedding alone, but the IIN also reads the 512x7x7 feature map, which cannot be "
            "recovered from it; write both with: mfs-edge identity PHOTO --arcface CKPT -o id.npy"
        )
    if core == layout.FLAT:
        flat = _read(array, layout.FLAT, path, name)
        return _agreeing(_identity(flat[: spec.EMBEDDING], flat[spec.EMBEDDING :], path), path, embed)
    feature_map = _read(array, layout.FEATURE_MAP, path, name)
    return _identity(_need(embed, path, "a feature map alone").head(feature_map), feature_map, path)


def _read(array: Stored, wanted: layout.Shape, path: Path, name: str) -> np.ndarray:
    """float32 of the shape ``wanted``, read only if its header says that it has that shape."""
    if array.dtype.kind != "f":
        raise IdentityError(f"{path}: {name} has dtype {array.dtype.name}, expected float32")
    if layout.essential(array.shape) != wanted:
        advice = layout.advice(array.shape, wanted) or layout.advice(array.shape, layout.FLAT)
        expected = {
            layout.EMBEDDING: "[512]",
            layout.FEATURE_MAP: "[512, 7, 7]"
            if name == "feature_map"
            else "[25600] (512 embedding values, then the 512x7x7 feature map) or [512, 7, 7]",
        }[wanted]
        raise IdentityError(f"{path}: {name} has shape {list(array.shape)}, expected {expected}; {advice or WRITE_IT}")
    try:
        values = array.read()
    except Exception as error:  # zipfile and numpy raise BadZipFile, ValueError, zlib.error, ... on damaged files
        raise IdentityError(f"{path}: {name} is damaged ({type(error).__name__}); copy the file again") from error
    return _checked(values, path, name).reshape(wanted)


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


def _arrays(path: Path) -> dict[str, Stored]:
    """Name -> array of an ``.npz``; a ``.npy`` has the one name ``""``."""
    try:
        stored = arrays.open_arrays(path)
    except limits.TooLarge as error:
        raise IdentityError(f"{path}: {error}") from error
    except Exception as error:  # numpy and zipfile raise ValueError, EOFError, BadZipFile, ... on damaged files
        with path.open("rb") as file:
            pickled = file.read(1) == b"\x80"
        reason = _OBJECTS if pickled else "it is damaged or of another format"
        raise IdentityError(f"{path}: is not a readable .npy or .npz identity ({reason}); {WRITE_IT}") from error
    if any(array.dtype.hasobject for array in stored.values()):
        raise IdentityError(f"{path}: is not a readable .npy or .npz identity ({_OBJECTS}); {WRITE_IT}")
    return stored


def _checked(array: np.ndarray, path: Path, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = np.array(array, np.float32, order="C")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise IdentityError(f"{path}: {name} has {bad} values that are NaN or infinite; compute the identity again")
    return array


def _identity(embedding: np.ndarray, feature_map: np.ndarray, path: Path) -> Identity:
    """An Identity with the embedding normalised, as the networks expect it."""
    largest = float(np.abs(feature_map).max())
    if largest > LARGEST_FEATURE:
        raise IdentityError(
            f"{path}: the feature map reaches {largest:.3g}, and ArcFace's about 10; compute the identity again"
        )
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
