"""Checkpoints regenerated from seeds, and the golden tensors that judge them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mfs_edge.face import models
from mfs_edge.face.detect import Detector
from mfs_edge.fold import FoldedIDN, fold
from mfs_edge.load.checkpoint import Checkpoint, from_state
from mfs_edge.load.identity import Identity
from mfs_edge.sample import seeded
from mfs_edge.sample import weights as demo_weights

# Several workers' OpenMP threads on a few cores spin against each other; torch is not imported yet.
os.environ.setdefault("OMP_NUM_THREADS", "1")

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_SEED = 7

Arrays = Mapping[str, np.ndarray]


@pytest.fixture(scope="session")
def golden() -> Arrays:
    """Tensors computed by the authors' own code on the checkpoints of seed 7."""
    with np.load(GOLDEN / "golden.npz") as stored:
        return {key: stored[key] for key in stored.files}


def rebuilt(network: str, golden: Arrays) -> Checkpoint:
    state = seeded.network_state(network, seed=GOLDEN_SEED, statistics=golden)
    return from_state(state, expect=network, source=f"seed {GOLDEN_SEED}", sha256="0" * 64)


@pytest.fixture(scope="session")
def golden_iin(golden: Arrays) -> Checkpoint:
    return rebuilt("iin", golden)


@pytest.fixture(scope="session")
def golden_arcface(golden: Arrays) -> Checkpoint:
    return rebuilt("arcface", golden)


@pytest.fixture(scope="session")
def golden_identity(golden: Arrays) -> Identity:
    return Identity(golden["identity/embedding"], golden["identity/feature_map"])


@pytest.fixture(scope="session")
def golden_folded(golden_iin: Checkpoint, golden_identity: Identity) -> FoldedIDN:
    return fold(golden_iin, golden_identity)


@pytest.fixture(scope="session")
def check() -> Arrays:
    """What the demo's weights must reproduce."""
    with np.load(GOLDEN / "check.npz") as stored:
        return {key: stored[key] for key in stored.files}


@pytest.fixture(scope="session")
def demo_iin() -> Checkpoint:
    return demo_weights.checkpoint("iin")


@pytest.fixture(scope="session")
def demo_identities(check: Arrays) -> list[Identity]:
    pairs = zip(check["identity/embedding"], check["identity/feature_map"], strict=True)
    return [Identity(embedding, feature_map) for embedding, feature_map in pairs]


@pytest.fixture(scope="session")
def demo_folded(demo_iin: Checkpoint, demo_identities: list[Identity]) -> FoldedIDN:
    return fold(demo_iin, demo_identities[0])


@pytest.fixture(scope="session")
def face_models() -> models.Models:
    """What finds faces, fetched once for all workers and all runs: they wait for each other at its lock."""
    return models.fetch()


@pytest.fixture(scope="session")
def detector(face_models: models.Models) -> Detector:
    return Detector(face_models.detector.parent)


ARTEFACT_SIZE = 64  # a frame takes about a millisecond


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory, demo_folded: FoldedIDN) -> Path:
    """A folder with idn.onnx, idn.tflite and idn.xml + .bin of the demo network."""
    from mfs_edge import target
    from mfs_edge.graph import build, passes

    folder = tmp_path_factory.mktemp("artefacts")
    graph = passes.optimise(build.build(demo_folded.weights(), size=ARTEFACT_SIZE), level=1)
    for name in ("onnx", "tflite", "openvino"):
        kind = target.get(name)
        kind.emit(graph, folder / f"idn{kind.suffix}", target.EmitOptions())
    return folder
