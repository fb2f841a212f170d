"""Packs and the codings of bases, by ``mfs_edge.pack.container`` and ``mfs_edge.quantize.coding``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from mfs_edge.pack import container
from mfs_edge.pack.container import Pack, Part, Patch
from mfs_edge.quantize.coding import Coding, Energy
from mfs_edge.quantize.coding import Part as Owned
from tests.fuzz.registry import Sample, reader
from tests.fuzz.structures import archives


def _packs() -> list[Sample]:
    files = {
        "a.xml": Part(90, "a" * 64, "b" * 64),
        "a.bin": Part(40, "c" * 64, "d" * 64),
        "a.txt": Part(4, *2 * ["e" * 64]),
    }
    patches = (Patch("a.xml", 3, b"x" * 8), Patch("a.bin", 0, bytes(16)), Patch("a.bin", 20, bytes(range(9))))
    pack = Pack("openvino", "int8", 224, "a.xml", "1" * 64, "2" * 64, files, patches)
    return [Sample(container.dumps(pack))]


@reader("pack", file="a.pack", samples=_packs, structures=[archives.as_safetensors])
def read_pack(path: Path) -> None:
    container.read(path)


def _codings() -> list[Sample]:
    energy = Energy(np.ones((2, 4, 4), np.float32), np.ones(2, np.float32), 1.0, True)
    part = Owned("mask.0.1.weight", (("", 2),), np.ones((1, 1, 1, 1)), np.ones((2, 1, 1, 1)), "int8", energy, None,
                 np.ones(2, np.float32))  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.base"
        Coding((part,)).save(path)
        return [Sample(path.read_bytes())]


@reader("base", file="a.base", samples=_codings, structures=[archives.as_zip(archives.as_npy)])
def read_coding(path: Path) -> None:
    Coding.load(path)
