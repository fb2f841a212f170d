"""One operator at a time, against onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from mfs_edge.targets.tflite import TfliteTarget

from mfs_edge.base.errors import LoweringError
from mfs_edge.target import EmitOptions
from tests.targets.tflite import graphs, qdq

TARGET = TfliteTarget()
RNG = np.random.default_rng(3)


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32) * np.float32(0.3)


def operators_of(model: ir.Model, folder: Path, size: int) -> Mapping[str, int]:
    """Write ``model``, compare it with onnxruntime, and say what was written."""
    path = graphs.write(model, folder)
    image = graphs.noise(size)
    outputs, expected = TARGET.load(path).run(image), qdq.run(model, image)
    for name, reference in expected.items():
        np.testing.assert_allclose(outputs[name], reference, atol=2e-5)
    return TARGET.read(path).operators


CONVS: dict[str, tuple[list[object], dict[str, object], int]] = {
    "3x3": ([weights(3, 3, 3, 3)], {"pads": [1, 1, 1, 1]}, 0),
    "3x3 with bias": ([weights(3, 3, 3, 3), weights(3)], {"pads": [1, 1, 1, 1]}, 0),
    "depthwise": ([weights(3, 1, 3, 3)], {"pads": [1, 1, 1, 1], "group": 3}, 0),
    "pointwise": ([weights(3, 3, 1, 1)], {}, 0),
    "padded wider than SAME": ([weights(3, 3, 3, 3)], {"pads": [2, 2, 2, 2]}, 1),
    "padded in front": ([weights(3, 3, 3, 3)], {"pads": [2, 2, 0, 0]}, 1),
    "4x4, the odd row behind": ([weights(3, 3, 4, 4)], {"pads": [1, 1, 2, 2]}, 0),
    "4x4, the odd row in front": ([weights(3, 3, 4, 4)], {"pads": [2, 2, 1, 1]}, 1),
}


@pytest.mark.parametrize("kind", CONVS)
def test_conv_pads_by_itself_only_where_the_format_says_the_same(tmp_path: Path, kind: str) -> None:
    others, attributes, pads = CONVS[kind]
    shrink: Sequence[graphs.Spec] = ()
    if kind == "padded wider than SAME":  # back to the image's size
        shrink = [("Conv", [weights(3, 3, 3, 3)], {})]
    model = graphs.chain(10, [("Conv", others, attributes), *shrink])
    assert operators_of(model, tmp_path, 10).get("PAD", 0) == pads


@pytest.mark.parametrize("size", [10, 11])
def test_a_strided_conv_pads_by_itself_on_even_sizes(tmp_path: Path, size: int) -> None:
    down = ("Conv", [weights(3, 1, 4, 4)], {"pads": [1, 1, 1, 1], "strides": [2, 2], "group": 3})
    up = ("Resize", [None, None, np.array([1, 3, size, size])], LINEAR)
    assert operators_of(graphs.chain(size, [down, up]), tmp_path, size).get("PAD", 0) == size % 2


LINEAR = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("outer", "size", "quads"), [(1, 6, 1), (4, 6, 1), (5, 6, 0), (3, 7, 0)])
def test_a_narrow_conv_makes_four_pixels_at_a_time(
    tmp_path: Path, outer: int, size: int, quads: int, bias: bool
) -> None:
    """Where a quad fits a kernel's 16 lanes and the size is even."""
    narrow = [weights(outer, 3, 3, 3), *([weights(outer)] if bias else [])]
    back: graphs.Spec = ("Conv", [weights(3, outer, 1, 1)], {})
    model = graphs.chain(size, [("Conv", narrow, {"pads": [1] * 4}), back])
    assert operators_of(model, tmp_path, size).get("DEPTH_TO_SPACE", 0) == quads


@pytest.mark.parametrize("coordinates", ["align_corners", "half_pixel"])
def test_resize(tmp_path: Path, coordinates: str) -> None:
    down = ("Conv", [weights(3, 3, 2, 2)], {"strides": [2, 2]})
    scales = np.array([1, 1, 2, 2], np.float32)
    up = ("Resize", [None, scales], {"mode": "linear", "coordinate_transformation_mode": coordinates})
    assert operators_of(graphs.chain(12, [down, up]), tmp_path, 12)["RESIZE_BILINEAR"] == 1


def test_a_size_used_twice_is_one_tensor(tmp_path: Path) -> None:
    down: graphs.Spec = ("Conv", [weights(3, 3, 2, 2)], {"strides": [2, 2]})
    up: graphs.Spec = ("Resize", [None, np.array([1, 1, 2, 2], np.float32)], LINEAR)
    path = graphs.write(graphs.chain(12, [down, up, down, up]), tmp_path)
    assert TARGET.read(path).details["constant_bytes"]["int32"] == 8


@pytest.mark.parametrize("fill", [0.0, 0.5])
def test_a_pad_before_a_conv_becomes_part_of_it(tmp_path: Path, fill: float) -> None:
    pad = ("Pad", [np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(fill)], {"mode": "constant"})
    conv = ("Conv", [weights(3, 1, 3, 3), weights(3)], {"group": 3})
    written = operators_of(graphs.chain(10, [pad, conv]), tmp_path, 10)
    assert not {"PAD", "PADV2"} & set(written)
    assert written.get("SUB", 0) == (1 if fill else 0)


@pytest.mark.parametrize(("fill", "code"), [(0.0, "PAD"), (0.5, "PADV2")])
def test_a_pad_that_no_conv_can_take_over_stays(tmp_path: Path, fill: float, code: str) -> None:
    pad = ("Pad", [np.array([0, 0, 2, 1, 0, 0, 0, 1]), np.float32(fill)], {"mode": "constant"})
    conv = ("Conv", [weights(3, 3, 3, 3)], {})
    assert operators_of(graphs.chain(10, [pad, conv]), tmp_path, 10)[code] == 1


ELEMENTWISE = ["Add", "Sub", "Mul", "Div"]


@pytest.mark.parametrize("op_type", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(), (1,), (1, 3, 1, 1), (3, 1, 1), (6,), (1, 1, 6, 6)])
def test_constants_broadcast_as_in_the_graph(tmp_path: Path, op_type: str, shape: tuple[int, ...]) -> None:
    constant = np.asarray(RNG.uniform(0.5, 2, shape), np.float32)
    operators_of(graphs.chain(6, [(op_type, [constant], {})]), tmp_path, 6)


@pytest.mark.parametrize("op_type", ELEMENTWISE)
def test_a_mask_broadcasts_over_channels(tmp_path: Path, op_type: str) -> None:
    squeeze: graphs.Spec = ("Conv", [np.full((1, 3, 1, 1), 0.5, np.float32)], {})
    model = graphs.chain(6, [squeeze, ("Sigmoid", [], {}), (op_type, ["image"], {})])
    operators_of(model, tmp_path, 6)


@pytest.mark.parametrize("op_type", ["Tanh", "Sigmoid"])
def test_activations(tmp_path: Path, op_type: str) -> None:
    operators_of(graphs.chain(6, [(op_type, [], {})]), tmp_path, 6)


def test_leaky_relu_keeps_its_slope(tmp_path: Path) -> None:
    centre: graphs.Spec = ("Sub", [np.float32(0.5)], {})
    operators_of(graphs.chain(6, [centre, ("LeakyRelu", [], {"alpha": 0.3})]), tmp_path, 6)
    operators_of(graphs.chain(6, [centre, ("LeakyRelu", [], {})]), tmp_path, 6)


def test_batch_norm_is_a_multiplication_and_an_addition(tmp_path: Path) -> None:
    parts = [weights(3), weights(3), weights(3), np.abs(weights(3))]
    written = operators_of(graphs.chain(6, [("BatchNormalization", parts, {"epsilon": 1e-3})]), tmp_path, 6)
    assert (written["MUL"], written["ADD"]) == (1, 1)


def test_concat_goes_along_channels(tmp_path: Path) -> None:
    back: graphs.Spec = ("Conv", [weights(3, 6, 1, 1)], {})
    model = graphs.chain(6, [("LeakyRelu", [], {}), ("Concat", ["image"], {"axis": 1}), back])
    assert operators_of(model, tmp_path, 6)["CONCATENATION"] == 1


REFUSED: dict[str, tuple[list[graphs.Spec], str]] = {
    "an unknown operator": ([("Softplus", [], {})], r"Softplus node swapped: .*no lowering"),
    "a grouped conv": (
        [
            ("Conv", [weights(4, 3, 1, 1)], {}),
            ("Conv", [weights(4, 2, 1, 1)], {"group": 2}),
            ("Conv", [weights(3, 4, 1, 1)], {}),
        ],
        r"Conv node conv\.1: group 2",
    ),
    "a dilated conv": ([("Conv", [weights(3, 3, 3, 3)], {"pads": [2] * 4, "dilations": [2, 2]})], "dilation"),
    "a nearest resize": ([("Resize", [None, np.ones(4, np.float32)], {"mode": "nearest"})], "Resize node swapped"),
    "a reflecting pad": ([("Pad", [np.zeros(8, np.int64)], {"mode": "reflect"})], "Pad node swapped"),
    "a computed weight": ([("Conv", ["image"], {})], "weight is not an initialiser"),
    "a cropping pad": ([("Pad", [np.array([0, 0, 1, 1, 0, 0, -1, -1])], {"mode": "constant"})], "non-negative"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_counterpart_is_named(kind: str) -> None:
    nodes, message = REFUSED[kind]
    with pytest.raises(LoweringError, match=message):
        TARGET.to_bytes(graphs.chain(6, nodes), EmitOptions())


def test_an_operator_of_another_domain_is_refused() -> None:
    model = graphs.chain(6, [("Tanh", [], {})])
    next(iter(model.graph)).domain = "com.example"
    with pytest.raises(LoweringError, match=r"com\.example\.Tanh"):
        TARGET.to_bytes(model, EmitOptions())


def test_a_weight_beyond_half_precision_is_refused() -> None:
    model = graphs.chain(6, [("Conv", [np.full((3, 3, 1, 1), 7e4, np.float32)], {})])
    with pytest.raises(LoweringError, match=r"swapped\.1 reaches 7e\+04.*balance"):
        TARGET.to_bytes(model, EmitOptions("fp16"))


def test_an_open_size_is_refused() -> None:
    model = graphs.chain(6, [("Tanh", [], {})])
    model.graph.inputs[0].shape = ir.Shape([1, 3, "H", "W"])
    with pytest.raises(LoweringError, match="one size"):
        TARGET.to_bytes(model, EmitOptions())


def test_a_graph_whose_shapes_disagree_is_refused() -> None:
    model = graphs.chain(6, [("Tanh", [], {}), ("Tanh", [], {})])
    next(iter(model.graph)).outputs[0].shape = ir.Shape([1, 3, 6, 7])
    with pytest.raises(LoweringError, match=r"Tanh node tanh\.0: computes"):
        TARGET.to_bytes(model, EmitOptions())
