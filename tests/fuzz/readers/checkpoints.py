"""Checkpoints, by ``mfs_edge.load.checkpoint``."""

from __future__ import annotations

import collections
import functools
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch

from mfs_edge.load import checkpoint
from mfs_edge.networks import spec
from mfs_edge.sample import seeded
from tests.fuzz.registry import Sample, reader
from tests.fuzz.structures import archives, pickles

MOST = 4096  # values of a tensor that is taken along: the files stay small


@functools.cache
def _state() -> dict[str, np.ndarray]:
    """The IIN's smaller tensors, in Paddle's layout: enough of them to be known as an IIN."""
    shapes = {key: shape for key, shape in seeded.paddle_shapes("iin").items() if int(np.prod(shape)) <= MOST}
    state = {key: np.full(shape, 0.5, np.float32) for key, shape in shapes.items()}
    assert len(state) > 0.3 * len(spec.iin_shapes())
    return state


def _few() -> dict[str, np.ndarray]:
    """So few that edits meet the file's structure more often than numbers."""
    return {key: _state()[key] for key in sorted(_state(), key=lambda key: (_state()[key].size, key))[:25]}


def _tensors() -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value) for key, value in _few().items()}


def _pickles() -> list[Sample]:
    names = {"StructuredToParameterName@@": {key: f"parameter_{i}" for i, key in enumerate(_few())}}
    paired = {key: (f"parameter_{i}", value) for i, (key, value) in enumerate(_few().items())}
    held: list[Any] = [{**_few(), **names}, paired, {"state_dict": collections.OrderedDict(_few()), "epoch": 3}]
    return [Sample(pickle.dumps(value, protocol)) for value in held for protocol in (2, 4, 5)]


def _saved(value: Any, *, legacy: bool = False) -> bytes:
    held = io.BytesIO()
    torch.save(value, held, _use_new_zipfile_serialization=not legacy)
    return held.getvalue()


def _torch() -> list[Sample]:
    halves = {key: value.bfloat16() for key, value in _tensors().items()}
    wrapped = {"state_dict": _tensors(), "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}
    return [Sample(_saved(value)) for value in (_tensors(), halves, wrapped)]


def _legacy() -> list[Sample]:
    return [Sample(_saved(_tensors(), legacy=True))]


def _safetensors() -> list[Sample]:
    halves = {key: value.bfloat16() for key, value in _tensors().items()}
    return [
        Sample(safetensors.numpy.save(_few(), metadata={"network": "iin"})),
        Sample(safetensors.torch.save(halves)),
    ]


def _npz() -> list[Sample]:
    held = io.BytesIO()
    np.savez(held, **_few())
    return [Sample(held.getvalue())]


def _bombs() -> list[bytes]:
    """2 MB that unpack to 2 GB."""
    return [archives.bomb("archive/data.pkl", b"\x80\x02"), archives.bomb("a.npy", archives.npy_header(2**29))]


def _archives() -> list[Sample]:
    """What checkpoints are downloaded in."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        content = pickle.dumps(_few(), 4)
        member = tarfile.TarInfo("checkpoints/iin.pdparams")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return [Sample(held.getvalue()), Sample(b"<!DOCTYPE html><p>please log in"), Sample(b"version https://git-lfs\n")]


@reader("checkpoint-pdparams", file="iin.pdparams", samples=_pickles, structures=[pickles.as_pickle], share=3)
def read_pickle(path: Path) -> None:
    checkpoint.load(path)


@reader("checkpoint-pth", file="iin.pth", samples=_torch, structures=[archives.as_zip(pickles.as_pickle)], share=2)
def read_torch(path: Path) -> None:
    checkpoint.load(path)


@reader("checkpoint-pth-legacy", file="iin.pt", samples=_legacy)
def read_legacy(path: Path) -> None:
    checkpoint.load(path)


@reader("checkpoint-safetensors", file="iin.safetensors", samples=_safetensors, structures=[archives.as_safetensors])
def read_safetensors(path: Path) -> None:
    checkpoint.load(path)


@reader("checkpoint-npz", file="iin.npz", samples=_npz, structures=[archives.as_zip(archives.as_npy)], known=_bombs)
def read_npz(path: Path) -> None:
    checkpoint.load(path)


@reader("checkpoint-archive", file="checkpoints.tar.gz", samples=_archives)
def read_archive(path: Path) -> None:
    checkpoint.load(path)
