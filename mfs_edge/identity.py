"""An identity: the 512 values of an ArcFace embedding and its 512x7x7 feature map.

Identities are biometric data. They are stored as plain float32 arrays (``id.npy``,
[25600]: embedding, then feature map) and only ever named by their hash elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mfs_edge import extras, files, images, pickles
from mfs_edge.checkpoint import Checkpoint
from mfs_edge.errors import IdentityError, InputError
from mfs_edge.networks import spec

if TYPE_CHECKING:
    from mfs_edge.networks.arcface import ArcFace

FEATURE_VALUES = int(np.prod(spec.FEATURE_MAP))
FLAT_VALUES = spec.EMBEDDING + FEATURE_VALUES
CROP = 224  # the aligned crop that ArcFace's 112 px input is reduced from
MIN_PHOTO = 32  # fewer pixels than this are no face
NORM_TOLERANCE = 1e-3
MIN_AGREEMENT = 0.99  # cosine of a given embedding and the one that --arcface computes
MAX_SIDE = 32766  # OpenCV warps nothing larger

# Five landmarks (eyes, nose, mouth corners) in a 112 px crop; DESIGN section 2, "Alignment".
TEMPLATE = np.array(
    [(30.2946, 51.6963), (65.5318, 51.5014), (48.0252, 71.7366), (33.5493, 92.3655), (62.7299, 92.2041)]
) + np.array([8.0, 0.0])


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


def load(path: str | Path, arcface: Checkpoint | None = None) -> Identity:
    """Read an identity in any of its forms.

    ``.npy`` [25600]; ``.npy`` [512, 7, 7] (the head in ``arcface`` adds the embedding);
    ``.npz`` with ``embedding`` and ``feature_map``; a picture of an aligned face, if
    ``arcface`` is given. An embedding that came with its feature map is checked against
    ``arcface``, if given: two files mixed up would swap in a face that nobody has.

    Raises:
        IdentityError: the file is none of these, or its values cannot be used.
    """
    path = files.require_file(Path(path), "identity")
    if path.suffix.lower() in images.SUFFIXES:
        return from_photo(path, _need(arcface, path, "a picture"))
    arrays = _arrays(path)
    if set(arrays) >= {"embedding", "feature_map"}:
        embedding, feature_map = (_checked(arrays[name], path, name) for name in ("embedding", "feature_map"))
        if embedding.size != spec.EMBEDDING or feature_map.size != FEATURE_VALUES:
            raise IdentityError(
                f"{path}: has embedding {list(embedding.shape)} and feature_map {list(feature_map.shape)}, "
                f"expected [512] and [512, 7, 7]; write it with: mfs-edge identity PHOTO --arcface CKPT -o id.npy"
            )
        return _agreeing(_identity(embedding, feature_map, path), path, arcface)
    if set(arrays) != {""}:
        raise IdentityError(
            f"{path}: holds {', '.join(map(pickles.quoted, sorted(arrays))) or 'nothing'}, expected arrays embedding "
            "and feature_map; write it with: mfs-edge identity PHOTO --arcface CKPT -o id.npy"
        )
    return _from_array(_checked(arrays[""], path, "the array"), path, arcface)


def _from_array(array: np.ndarray, path: Path, arcface: Checkpoint | None) -> Identity:
    if array.shape in ((FLAT_VALUES,), (1, FLAT_VALUES)):
        flat = array.ravel()
        return _agreeing(_identity(flat[: spec.EMBEDDING], flat[spec.EMBEDDING :], path), path, arcface)
    if array.shape in (spec.FEATURE_MAP, (1, *spec.FEATURE_MAP)):
        return _identity(Embedder(_need(arcface, path, "a feature map alone")).head(array), array, path)
    if array.size == spec.EMBEDDING:
        raise IdentityError(
            f"{path}: is an embedding alone, but the IIN also reads the 512x7x7 feature map, which cannot be "
            "recovered from it; write both with: mfs-edge identity PHOTO --arcface CKPT -o id.npy"
        )
    raise IdentityError(
        f"{path}: has shape {list(array.shape)}, expected [25600] (512 embedding values, then the 512x7x7 feature "
        "map) or [512, 7, 7]; write it with: mfs-edge identity PHOTO --arcface CKPT -o id.npy"
    )


def _need(arcface: Checkpoint | None, path: Path, what: str) -> Checkpoint:
    if arcface is None:
        raise IdentityError(f"{path}: is {what}; give --arcface CKPT so that the embedding can be computed")
    return arcface


def _agreeing(identity: Identity, path: Path, arcface: Checkpoint | None) -> Identity:
    """``identity``, once its embedding is known to be that of its feature map."""
    if arcface is not None:
        cosine = float(Embedder(arcface).head(identity.feature_map) @ identity.embedding)
        if not cosine >= MIN_AGREEMENT:
            raise IdentityError(
                f"{path}: the embedding is not that of its feature map under {arcface.source} (cosine {cosine:.3f}); "
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
        raise IdentityError(
            f"{path}: is not a readable .npy or .npz identity ({reason}); "
            "write it with: mfs-edge identity PHOTO --arcface CKPT -o id.npy"
        ) from error


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


# --- from a picture ------------------------------------------------------------------------


def from_photo(path: Path, arcface: Checkpoint, landmarks: np.ndarray | None = None) -> Identity:
    """The identity in a picture.

    Args:
        path: an aligned square face crop of any size, or a whole photo with ``landmarks``.
        landmarks: [5, 2] pixels x, y: both eyes, nose, both mouth corners, left to right.

    Raises:
        IdentityError: the crop is not square, or the landmarks cannot be used.
    """
    return Embedder(arcface)(arcface_input(images.read_rgb(path), str(path), landmarks))


def arcface_input(image: np.ndarray, name: str, landmarks: np.ndarray | None = None) -> np.ndarray:
    """float32 [112, 112, 3] RGB in 0..255: what ArcFace reads, from an aligned crop or a whole photo."""
    cv2 = extras.require("cv2", "compile")
    height, width = image.shape[:2]
    if landmarks is not None:
        _check_landmarks(landmarks, width, height, name)
        image = align(image, landmarks, CROP)
    elif height != width:
        raise IdentityError(
            f"{name}: is {width}x{height}, but an aligned face crop is square; "
            "crop it, or give the whole photo with --landmarks FILE (five x,y points)"
        )
    elif height < MIN_PHOTO:
        raise IdentityError(f"{name}: is only {width}x{height} pixels; use a crop of at least 112x112")
    elif height > CROP:
        image = images.resize(image, CROP)
    # Bilinear, and not rounded to bytes again: from 224 px it is the mean of 2x2 pixels.
    side = spec.ARCFACE_INPUT
    resized: np.ndarray = cv2.resize(image.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    return resized


def _check_landmarks(landmarks: np.ndarray, width: int, height: int, name: str) -> None:
    outside = ((landmarks < 0) | (landmarks > (width, height))).any(axis=1)
    if outside.any():
        x, y = landmarks[outside][0]
        raise IdentityError(
            f"{name}: landmark {int(outside.argmax()) + 1} at {x:g},{y:g} lies outside the {width}x{height} picture; "
            "give pixels of this very picture"
        )
    if np.linalg.det(affine(landmarks, CROP)[:, :2]) <= 0:
        raise IdentityError(
            f"{name}: the landmarks would mirror the face; give of the eyes, and of the mouth corners, "
            "the one on the picture's left first"
        )
    if max(width, height) > MAX_SIDE:
        raise IdentityError(f"{name}: is {width}x{height} pixels, more than {MAX_SIDE} on a side; make it smaller")


def affine(landmarks: np.ndarray, size: int) -> np.ndarray:
    """The least-squares affine [2, 3] that takes ``landmarks`` onto the template at ``size`` px."""
    points = np.column_stack([landmarks, np.ones(len(landmarks))])
    solution: np.ndarray
    solution, _, rank, _ = np.linalg.lstsq(points, TEMPLATE * size / spec.ARCFACE_INPUT, rcond=None)
    if rank < 3:
        raise IdentityError(
            "the five landmarks lie on one line; give x,y of both eyes, the nose and both mouth corners"
        )
    return solution.T


def align(image: np.ndarray, landmarks: np.ndarray, size: int) -> np.ndarray:
    """The face in ``image``, warped to a [size, size, 3] crop."""
    cv2 = extras.require("cv2", "compile")
    crop: np.ndarray = cv2.warpAffine(image, affine(landmarks, size), (size, size), flags=cv2.INTER_LINEAR)
    return crop


def read_landmarks(path: Path) -> np.ndarray:
    """Five x, y points from a text file (commas or blanks) or JSON; float64 [5, 2].

    Raises:
        InputError: it does not hold exactly ten finite numbers.
    """
    text = files.require_file(path, "landmarks").read_text(encoding="utf-8-sig", errors="replace")
    try:
        values = json.loads(text) if text.lstrip().startswith(("[", "{")) else text.replace(",", " ").split()
        points = np.asarray(values, dtype=np.float64).reshape(5, 2)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: does not hold five x,y points; write ten numbers, two to a line") from error
    if not np.isfinite(points).all():
        raise InputError(f"{path}: has landmarks that are not finite; write ten numbers, two to a line")
    return points


class Embedder:
    """ArcFace made ready once, for any number of pictures."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        torch = extras.require("torch", "compile")
        from mfs_edge.networks import arcface, loading

        # Float64: 50 layers of float32 lose a digit that the folded weights are judged on,
        # and, rounded to float32, an identity and its hash are the same on every machine.
        self.network: ArcFace = loading.instantiate(arcface.ArcFace, checkpoint.tensors, dtype=torch.float64)

    def __call__(self, image: np.ndarray) -> Identity:
        """Identity of a [112, 112, 3] RGB crop in 0..255, bytes or floats."""
        import torch

        tensor = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float64) / 255)
        embedding, feature_map = self.network(tensor)
        return Identity(embedding[0].float().numpy(), feature_map[0].float().numpy())

    def head(self, feature_map: np.ndarray) -> np.ndarray:
        """Embedding [512] of a feature map."""
        import torch

        tensor = torch.from_numpy(feature_map.reshape(1, *spec.FEATURE_MAP)).double()
        return self.network.head(tensor)[0].float().numpy()
