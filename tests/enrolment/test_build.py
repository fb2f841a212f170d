"""The graph from a crop to the identity's tensors, against ArcFace, the IIN and the fold in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge import enrolment, sample
from mfs_edge.base.errors import CheckpointError
from mfs_edge.enrolment import injection
from mfs_edge.enrolment.layers import Layers
from mfs_edge.face import crop as crops
from mfs_edge.fold import FoldedIDN, fold
from mfs_edge.graph.build import IR_VERSION, OPSET
from mfs_edge.graph.session import Session
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.embed import Embedder
from mfs_edge.networks import spec

from .conftest import crop_of

Arrays = Mapping[str, np.ndarray]
OPERATORS = {"Conv", "LeakyRelu", "MaxPool", "GlobalAveragePool", "Sigmoid", "Mul", "Add", "Div", "Sqrt", "Concat"} | {
    "Transpose",
    "Reshape",
}


@pytest.fixture(scope="module")
def session(stored: Callable[[str], ir.Model]) -> Session:
    return Session(stored("fp32"))


def relative(found: Arrays, wanted: Arrays) -> float:
    return max(float(np.abs(found[key] - wanted[key]).max() / np.abs(wanted[key]).max()) for key in found)


def read(session: Session, crop: np.ndarray) -> Arrays:
    return enrolment.decoded(session.run({"crop": crop})["payload"], enrolment.plain())


def test_the_golden_face_gives_the_authors_weights(
    session: Session, golden_crop: np.ndarray, golden_folded: FoldedIDN, level: Callable[[np.ndarray], float]
) -> None:
    payload = session.run({"crop": golden_crop})["payload"]
    assert payload.shape == (25_264,)
    assert relative(enrolment.decoded(payload, enrolment.plain()), golden_folded.weights("identity-local")) < 1e-3
    assert level(payload) >= 90


@pytest.mark.parametrize("kind", ["drawn", "black", "noise"])
def test_other_crops_too(session: Session, golden_arcface: Checkpoint, golden_iin: Checkpoint, kind: str) -> None:
    rng = np.random.default_rng(1)
    pictures = {"drawn": sample.target(3), "black": np.zeros((224, 224, 3), np.uint8)}
    picture = pictures.get(kind, rng.integers(0, 256, (224, 224, 3), np.uint8))
    wanted = fold(golden_iin, Embedder(golden_arcface)(crops.reduced(picture))).weights("identity-local")
    assert relative(read(session, crop_of(picture)), wanted) < 2e-3  # of float32, which its layers amplify


def test_few_kinds_of_operators(stored: Callable[[str], ir.Model]) -> None:
    assert {node.op_type for node in stored("fp32").graph} <= OPERATORS
    assert {node.op_type for node in stored("int8").graph} <= OPERATORS | {"Cast", "DequantizeLinear"}


def test_a_norm_before_a_padded_convolution_leaves_its_border_alone() -> None:
    rng = np.random.default_rng(0)
    net = Layers()
    names = ("weight", "bias", "running_mean", "running_var")
    tensors = {f"bn.{name}": rng.uniform(0.5, 2, 3).astype(np.float32) for name in names}
    x = ir.val("x", dtype=ir.DataType.FLOAT, shape=[1, 3, 4, 4])
    weight = rng.standard_normal((2, 3, 3, 3)).astype(np.float32)
    y = net.conv("y", net.norm("n", x, tensors, "bn"), weight, pad=1)
    image = rng.standard_normal((1, 3, 4, 4)).astype(np.float32)
    import torch.nn.functional as F
    from torch import from_numpy

    gain, bias, mean, variance = (from_numpy(tensors[f"bn.{name}"]) for name in names)
    normed = F.batch_norm(from_numpy(image), mean, variance, gain, bias, eps=spec.BATCH_NORM_EPS)
    wanted = F.conv2d(normed, from_numpy(weight), padding=1).numpy()
    np.testing.assert_allclose(run(net, x, y, image), wanted, rtol=1e-5, atol=1e-5)


def run(net: Layers, x: ir.Value, y: ir.Value, value: np.ndarray) -> np.ndarray:
    y.dtype = ir.DataType.FLOAT
    graph = net.graph("part", [x], [y], {"": OPSET})
    return Session(ir.Model(graph, ir_version=IR_VERSION)).run({"x": value})[str(y.name)]


@pytest.mark.parametrize("scale", [1.0, 0.0, 1e-7, 1e-30, 1e5])
@pytest.mark.parametrize("gain", [1.0, 0.0, -3.0])
def test_demodulation_stays_finite_and_exact(scale: float, gain: float) -> None:
    rng = np.random.default_rng(2)
    weight = (rng.standard_normal((8, 5, 1, 1)) * scale).astype(np.float32)
    net, x = Layers(), ir.val("x", dtype=ir.DataType.FLOAT, shape=[1, 5, 1, 1])
    y = injection._demodulation(net, {"DecoderModulation.0.weight": weight}, "Decoder.0", x)
    gains = np.full((1, 5, 1, 1), gain, np.float32)
    energy = np.square(weight[:, :, 0, 0].astype(np.float64) * gain).sum(axis=1) + spec.DEMODULATION_EPS
    np.testing.assert_allclose(run(net, x, y, gains).ravel(), 1 / np.sqrt(energy), rtol=1e-5)


@pytest.mark.parametrize(
    "keys",
    [("layer2.1.conv1.weight", "layer2.1.bn1.weight"), ("fc.weight", "bn3.weight"), ("conv1.weight", "bn1.weight")],
)
def test_weights_beyond_float32_are_refused(
    golden_arcface: Checkpoint, golden_iin: Checkpoint, keys: tuple[str, str]
) -> None:
    huge = {key: golden_arcface.tensors[key] * np.float32(1e25) for key in keys}
    with pytest.raises(CheckpointError, match=r"overflows float32"):
        enrolment.trunk({**golden_arcface.tensors, **huge}, golden_iin.tensors)
