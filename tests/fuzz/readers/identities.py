"""Identities, by ``mfs_edge.load.identity``."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from mfs_edge.load import identity
from mfs_edge.networks import spec
from tests.fuzz.registry import Sample, reader
from tests.fuzz.structures import archives, pickles


def _embedding() -> np.ndarray:
    return np.full(spec.EMBEDDING, spec.EMBEDDING**-0.5, np.float32)


def _feature_map() -> np.ndarray:
    return np.linspace(0, 1, int(np.prod(spec.FEATURE_MAP)), dtype=np.float32).reshape(spec.FEATURE_MAP)


def _npy(array: np.ndarray, *, pickled: bool = False) -> bytes:
    held = io.BytesIO()
    np.save(held, array, allow_pickle=pickled)
    return held.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.savez(held, **arrays)
    return held.getvalue()


def arrays() -> list[Sample]:
    flat = np.concatenate([_embedding(), _feature_map().ravel()])
    odd = _npy(np.array([{}], object), pickled=True)
    return [*map(Sample, (_npy(flat), _npy(flat[None]), _npy(_embedding()), _npy(_feature_map()), odd))]


def _archives() -> list[Sample]:
    return [
        Sample(_npz(embedding=_embedding(), feature_map=_feature_map())),
        Sample(_npz(embedding=_embedding()[None], feature_map=_feature_map()[None], other=np.zeros(3))),
    ]


def _bombs() -> list[bytes]:
    """2 MB that unpack to 2 GB."""
    return [archives.bomb("embedding.npy", archives.npy_header(2**29)), archives.bomb("feature_map.npy", b"")]


@reader("identity-npy", file="id.npy", samples=arrays, structures=[archives.as_npy, pickles.as_pickle])
def read_npy(path: Path) -> None:
    identity.load(path)


@reader("identity-npz", file="id.npz", samples=_archives, structures=[archives.as_zip(archives.as_npy)], known=_bombs)
def read_npz(path: Path) -> None:
    identity.load(path)
