"""Half precision, with the outputs in mind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge.base.errors import LoweringError
from mfs_edge.base.fidelity import psnr
from mfs_edge.graph import build, edit, passes
from mfs_edge.graph.session import Session
from mfs_edge.quantize import execute, half, taps
from mfs_edge.target import EmitOptions, get
from tests.graph import seeds
from tests.quantize.conftest import SIZE


def nearest(model: ir.Model) -> ir.Model:
    """Every weight rounded alone."""
    copy = model.clone()
    for conv in edit.of_type(copy.graph, "Conv"):
        edit.set_weight(copy.graph, conv, 1, edit.weight(conv, 1).astype(np.float16))
    return copy


def level(model: ir.Model, exact: ir.Model, pictures: Sequence[np.ndarray], output: str) -> float:
    """Mean PSNR against ``exact``."""
    pairs = zip(execute.outputs(model, pictures), execute.outputs(exact, pictures), strict=True)
    return float(np.mean([psnr(found[output] - wanted[output]) for found, wanted in pairs]))


@pytest.fixture(scope="module")
def rounded(small: ir.Model) -> ir.Model:
    """The golden network, balanced and rounded on drawn faces."""
    return half.prepare(small)


def test_every_weight_is_a_half(rounded: ir.Model) -> None:
    for conv in edit.of_type(rounded.graph, "Conv"):
        weight = edit.constant(conv.inputs[1])
        assert weight is not None
        assert np.array_equal(weight, weight.astype(np.float16))


def test_nothing_is_added(small: ir.Model, rounded: ir.Model) -> None:
    assert [node.op_type for node in rounded.graph] == [node.op_type for node in small.graph]
    inputs = [[len(node.inputs) for node in model.graph] for model in (rounded, small)]
    assert inputs[0] == inputs[1]  # no conv got a bias that had none


def test_golden_gains_on_unseen_faces(small: ir.Model, rounded: ir.Model, judging: list[np.ndarray]) -> None:
    alone = nearest(passes.balance(small.clone()))
    assert level(rounded, small, judging, "swapped") > level(alone, small, judging, "swapped") + 5
    assert level(rounded, small, judging, "mask") > level(alone, small, judging, "mask") + 3


@pytest.mark.parametrize("seed", [1, 8])
def test_random_networks_gain_on_pictures_of_another_kind(seed: int, judging: list[np.ndarray]) -> None:
    """Calibrated on noise alone; judged on faces."""
    exact = passes.optimise(build.build(seeds.folded(seed).weights(), size=SIZE))
    balanced = passes.balance(exact.clone())
    found = balanced.clone()
    half.round_weights(found, [])
    assert level(found, exact, judging, "swapped") > level(nearest(balanced), exact, judging, "swapped") + 2


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_flat_picture_does_no_harm(small: ir.Model, judging: list[np.ndarray], value: float) -> None:
    balanced = passes.balance(small.clone())
    found = balanced.clone()
    half.round_weights(found, [np.full((1, 3, SIZE, SIZE), value, np.float32)])
    assert level(found, small, judging, "swapped") > level(nearest(balanced), small, judging, "swapped")


def test_what_the_target_stores_is_what_was_chosen(
    rounded: ir.Model, judging: list[np.ndarray], tmp_path: Path
) -> None:
    """The file computes what the rounded float32 graph does."""
    for name in ("onnx", "tflite"):
        target = get(name)
        path = tmp_path / f"half{target.suffix}"
        target.emit(rounded, path, EmitOptions(precision="fp16"))
        found = target.load(path, threads=1).run(judging[0])
        wanted = execute.outputs(rounded, judging[:1])[0]
        assert np.abs(found["swapped"] - wanted["swapped"]).max() < 2e-5


def test_a_weight_beyond_half_is_left_for_the_target_to_refuse(small: ir.Model, tmp_path: Path) -> None:
    model = small.clone()
    conv = next(edit.of_type(model.graph, "Conv"))
    huge = edit.weight(conv, 1) * 1e7
    edit.set_weight(model.graph, conv, 1, huge)
    half.round_weights(model, [])
    assert np.array_equal(edit.weight(conv, 1), huge.astype(np.float32).astype(np.float64))
    with pytest.raises(LoweringError, match="beyond float16"):
        get("onnx").emit(model, tmp_path / "huge.onnx", EmitOptions(precision="fp16"))


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "groups"), [(3, 1, 1, 4), (4, 2, 1, 4), (1, 1, 0, 1), (3, 1, 1, 1)]
)
def test_patches_are_what_the_kernels_see(kernel: int, stride: int, pad: int, groups: int) -> None:
    """Weights times patches are values of the conv's output, at the places drawn."""
    rng = np.random.default_rng(0)
    value = rng.normal(0, 1, (1, 4, 12, 12)).astype(np.float32)
    weight = rng.normal(0, 1, (8, 4 // groups, kernel, kernel)).astype(np.float32)
    model = convolution(value, weight, stride=stride, pad=pad, groups=groups)
    conv = next(edit.of_type(model.graph, "Conv"))
    found = taps.patches(value, conv, np.random.default_rng(1))
    outputs = np.einsum("gok,gkn->gon", weight.reshape(groups, 8 // groups, -1), found).reshape(8, -1)
    image = Session(model).run({str(model.graph.inputs[0].name): value})["y"][0]
    again = np.random.default_rng(1)
    ys, xs = (again.integers(image.shape[1], size=outputs.shape[1]) for _ in range(2))
    assert np.abs(outputs - image[:, ys, xs]).max() < 1e-4


def convolution(value: np.ndarray, weight: np.ndarray, *, stride: int, pad: int, groups: int) -> ir.Model:
    """A graph of one Conv, x -> y."""
    x = ir.val("x", dtype=ir.DataType.FLOAT, shape=value.shape)
    kernel = ir.Value(name="w", shape=ir.Shape(weight.shape), const_value=ir.tensor(weight, name="w"))
    attributes = {"strides": (stride,) * 2, "pads": (pad,) * 4, "group": groups, "kernel_shape": weight.shape[2:]}
    node = ir.node("Conv", [x, kernel], attributes, outputs=[ir.val("y", dtype=ir.DataType.FLOAT)], name="conv")
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[kernel], opset_imports={"": 17}, name="one")
    return ir.Model(graph, ir_version=8)
