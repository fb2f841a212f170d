"""Identities that were never seen by a base, and bases of every form."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mfs_edge import pack as packs
from mfs_edge import precisions
from mfs_edge.base.progress import Recorded
from mfs_edge.fold import FoldedIDN, Folder
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity, save

SIZE = 64
Bases = Callable[[str], precisions.Graph]


def drawn(seed: int) -> Identity:
    """Nobody: values of the kind that ArcFace gives."""
    random = np.random.default_rng(seed)
    embedding = random.normal(size=512)
    feature_map = random.normal(size=(512, 7, 7))
    return Identity((embedding / np.linalg.norm(embedding)).astype(np.float32), feature_map.astype(np.float32))


def extreme(identity: Identity) -> Identity:
    """Of a length that no embedding has."""
    return replace(identity, embedding=identity.embedding * np.float32(100))


@pytest.fixture(scope="session")
def folder(demo_iin: Checkpoint) -> Folder:
    return Folder(demo_iin)


@pytest.fixture(scope="session")
def strangers(folder: Folder, demo_identities: list[Identity]) -> list[tuple[Identity, FoldedIDN]]:
    """Two random identities and an extreme one, folded."""
    people = [drawn(1), drawn(2), extreme(demo_identities[2])]
    return [(one, folder.fold(one)) for one in people]


@pytest.fixture(scope="session")
def bases(folder: Folder, demo_identities: list[Identity]) -> Bases:
    """A base over two of the demo's identities in any precision, which holds the first."""
    base = precisions.Base.of([folder.fold(one) for one in demo_identities[:2]], size=SIZE, optimize=1)

    @functools.cache
    def made(precision: str) -> precisions.Graph:
        steps = Recorded()
        pictures = precisions.pictures(None, [precision], size=SIZE, steps=steps)
        return precisions.make(base, precision, pictures, min_psnr=None, steps=steps)

    return made


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, demo_identities: list[Identity]) -> Path:
    """A base as the command writes it: one file, two files and a folder."""
    import mfs_edge

    out = tmp_path_factory.mktemp("base")
    mfs_edge.compile(
        identities=demo_identities[:2], target=["onnx", "openvino", "coreml"], precision="fp16", size=SIZE, out=out,
        verify=False,
    )  # fmt: skip
    return out


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a dozen identities that nobody is."""
    folder = tmp_path_factory.mktemp("crowd")
    for number in range(12):
        save(drawn(number), folder / f"person{number:02}.npy")
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, built: Path, crowd: Path) -> Path:
    """The packs of the crowd's first, made by the product."""
    out = tmp_path_factory.mktemp("packs")
    packs.make(base=built, identity=crowd / "person00.npy", out=out)
    return out
