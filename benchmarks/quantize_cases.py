"""The networks that quantisation is judged on, with their pictures: the trained demo, and random weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from mfs_edge import fold, sample
from mfs_edge.base import extras, images
from mfs_edge.base.fidelity import Outputs
from mfs_edge.graph import build, passes
from mfs_edge.load import checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.quantize import execute
from mfs_edge.sample import seeded
from mfs_edge.sample import weights as demo_weights

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
GOLDEN_SEED = 7
# Colour photographs that come with scikit-image, and how many crops of each.
CALIBRATING, JUDGING, CROPS = ("astronaut", "rocket"), ("coffee", "chelsea"), 16
Pictures = Sequence[np.ndarray]


@dataclass(frozen=True)
class Case:
    """One network at one size, with its pictures."""

    name: str
    model: ir.Model
    calibrate: Pictures
    judge: Pictures
    expected: Sequence[Outputs]


def cases(networks: Sequence[str], sizes: Sequence[int], identities: int) -> Iterator[Case]:
    """Each network at each size."""
    for size in sizes:
        for network in networks:
            if network == "golden":
                yield _case(f"golden, {size} px", _golden(), size, crops(CALIBRATING, size), crops(JUDGING, size))
            else:
                faces = [images.to_nchw(images.resize(sample.target(i), size)) for i in range(sample.TARGETS)]
                for number, folded in enumerate(_demo(identities)):
                    yield _case(f"demo {number}, {size} px", folded, size, faces[32:], faces[:32])


def _case(name: str, folded: fold.FoldedIDN, size: int, calibrate: Pictures, judge: Pictures) -> Case:
    model = passes.optimise(build.build(folded.weights(), size=size))
    return Case(name, model, calibrate, judge, execute.outputs(model, judge))


def _demo(identities: int) -> Iterator[fold.FoldedIDN]:
    with np.load(GOLDEN / "check.npz") as stored:
        pairs = list(zip(stored["identity/embedding"], stored["identity/feature_map"], strict=True))
    for embedding, feature_map in pairs[:identities]:
        yield fold.fold(demo_weights.checkpoint("iin"), Identity(embedding, feature_map))


def _golden() -> fold.FoldedIDN:
    with np.load(GOLDEN / "golden.npz") as stored:
        state = seeded.network_state("iin", seed=GOLDEN_SEED, statistics=stored)
        identity = Identity(stored["identity/embedding"], stored["identity/feature_map"])
    iin = checkpoint.from_state(state, expect="iin", source="golden", sha256="0" * 64)
    return fold.fold(iin, identity)


def crops(photographs: Sequence[str], size: int) -> list[np.ndarray]:
    """``CROPS`` random squares of each photograph, from half its height upwards, the same ones every time."""
    data = extras.require("skimage.data", "dev")
    found = []
    rng = np.random.default_rng(0)
    for name in photographs:
        photograph = getattr(data, name)()[..., :3]
        for _ in range(CROPS):
            side = int(rng.integers(photograph.shape[0] // 2, photograph.shape[0]))
            top, left = (int(rng.integers(extent - side + 1)) for extent in photograph.shape[:2])
            square = np.ascontiguousarray(photograph[top : top + side, left : left + side])
            found.append(images.to_nchw(images.resize(square, size)))
    return found
