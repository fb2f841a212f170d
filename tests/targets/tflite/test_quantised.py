"""A hand-made QDQ graph: every operator in int8, against onnxruntime on the same graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from mfs_edge.targets.tflite import TfliteTarget, conv, operators, validate

from mfs_edge import fold
from mfs_edge.base import fidelity
from mfs_edge.base.errors import LoweringError
from mfs_edge.quantize import neighbours
from mfs_edge.target import EmitOptions
from tests.targets.integers import largest_sum
from tests.targets.tflite import graphs, qdq

TARGET = TfliteTarget()
SIZE = 32
# onnxruntime evaluates each node in float and rounds; XNNPACK rounds inside. Off by one step
# at one node, they may be a few apart a dozen nodes later.
STEPS = 4
ALIGNED = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
TWICE = np.array([1, 1, 2, 2], np.float32)


def float_graph() -> ir.Model:
    """Pad, depthwise, pointwise, 3x3, leaky ReLU, resize, concat, sigmoid, sub, mul, add."""
    rng = np.random.default_rng(5)

    def weights(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    down = {"strides": [2, 2], "group": 3}
    return graphs.chain(
        SIZE,
        [
            ("Pad", [np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(0.5)], {"mode": "constant"}),
            ("Conv", [weights(3, 1, 4, 4), weights(3)], down),
            ("Conv", [weights(8, 3, 1, 1), weights(8)], {}),
            ("LeakyRelu", [], {"alpha": 0.1}),
            ("Conv", [weights(8, 1, 3, 3)], {"pads": [1] * 4, "group": 8}),
            ("Conv", [weights(8, 8, 1, 1)], {}),
            ("LeakyRelu", [], {"alpha": 0.1}),
            ("Concat", ["leakyrelu.3"], {"axis": 1}),
            ("Resize", [None, TWICE], ALIGNED),
            ("Conv", [weights(3, 16, 3, 3), weights(3)], {"pads": [1] * 4}),
            ("Sigmoid", [], {}),
            ("Sub", ["image"], {}),
            ("Mul", ["sigmoid.10"], {}),
            ("Add", ["image"], {}),
        ],
    )


@pytest.fixture(scope="module")
def quantised() -> ir.Model:
    return qdq.quantise(float_graph(), graphs.noise(SIZE))


def kinds(path: Path) -> list[str]:
    return [operators.BY_CODE[operator.code].name for operator in validate.load(path).operators]


@pytest.mark.parametrize("io", ["float32", "uint8"])
def test_it_computes_what_the_qdq_graph_says(quantised: ir.Model, tmp_path: Path, io: str) -> None:
    image = np.rint(graphs.noise(SIZE, seed=1) * 255).astype(np.float32) / np.float32(255)
    outputs = TARGET.load(graphs.write(quantised, tmp_path, precision="int8", io=io)).run(image)
    expected = qdq.run(quantised, image)
    for name, reference in expected.items():
        assert np.abs(outputs[name] - reference).max() <= STEPS / 255
        assert fidelity.psnr(outputs[name] - reference) > 45
    real = qdq.run(float_graph(), image)
    assert fidelity.psnr(outputs["swapped"] - real["swapped"]) > 35  # and that is the network


@pytest.mark.parametrize("io", ["float32", "uint8"])
def test_one_partition_with_integers_from_edge_to_edge(quantised: ir.Model, tmp_path: Path, io: str) -> None:
    path = graphs.write(quantised, tmp_path, precision="int8", io=io)
    covered = TARGET.load(path).engine.coverage()
    assert (covered["partitions"], covered["outside"]) == (1, [])
    names = kinds(path)
    inner = names[names.index("QUANTIZE") + 1 : names.index("DEQUANTIZE", names.index("QUANTIZE"))]
    assert not {"QUANTIZE", "DEQUANTIZE", "PAD", "PADV2"} & set(inner)
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "LEAKY_RELU", "RESIZE_BILINEAR", "CONCATENATION"} <= set(inner)
    assert {"LOGISTIC", "SUB", "MUL", "ADD"} <= set(inner)
    edges = names[: names.index("QUANTIZE") + 1] + names[names.index("DEQUANTIZE", names.index("QUANTIZE")) :]
    outside = {"float32": ["QUANTIZE", *["DEQUANTIZE"] * 2], "uint8": ["DEQUANTIZE", "QUANTIZE"] * 3}
    assert sorted(edges) == sorted(outside[io])


def test_tensors_carry_the_scales_of_their_pairs(quantised: ir.Model, tmp_path: Path) -> None:
    model = validate.load(graphs.write(quantised, tmp_path, precision="int8"))
    found = {tensor.name: tensor for tensor in model.tensors}
    constants = {str(value.name): value.const_value for value in quantised.graph.initializers.values()}
    for name in ("conv.2", "leakyrelu.6", "resize.8", "sub.11"):
        quantisation = found[name].quantisation
        assert found[name].dtype == "int8"
        assert quantisation is not None
        assert quantisation.scale[0] == constants[f"{name}.scale"].numpy()
        assert quantisation.zero_point[0] == constants[f"{name}.zero"].numpy()
    kernel, bias = found["conv.1.1.codes"], found["conv.1.2.codes"]
    assert kernel.quantisation is not None
    assert bias.quantisation is not None
    assert (kernel.shape, kernel.quantisation.axis, kernel.quantisation.scale.size) == ((1, 4, 4, 3), 3, 3)
    assert (bias.dtype, bias.quantisation.scale.size) == ("int32", 3)


STRIPS = [(1, 8, 8), (2, 8, 4), (3, 8, 4), (4, 10, 2), (6, 6, 2), (3, 7, 7), (4, 7, 1), (9, 8, 1)]


@pytest.mark.parametrize(("outer", "size", "pixels"), STRIPS)
def test_a_narrow_conv_makes_a_strip_at_a_time(tmp_path: Path, outer: int, size: int, pixels: int) -> None:
    """As long as a tile's lanes and the divisors of a row have it."""
    rng = np.random.default_rng(outer)
    narrow = [rng.normal(size=(outer, 3, 3, 3)).astype(np.float32), rng.normal(size=outer).astype(np.float32)]
    back = [np.full((3, outer, 1, 1), 0.1, np.float32)]
    chain = graphs.chain(size, [("Conv", narrow, {"pads": [1] * 4}), ("Conv", back, {})])
    model = qdq.quantise(chain, graphs.noise(size))
    path = graphs.write(model, tmp_path, precision="int8")
    assert conv.strip(size, outer) == pixels
    assert kinds(path).count("RESHAPE") == (pixels > 1)
    outputs, expected = TARGET.load(path).run(graphs.noise(size, seed=1)), qdq.run(model, graphs.noise(size, seed=1))
    step = float(next(v for v in model.graph.initializers.values() if v.name == "swapped.scale").const_value.numpy())
    assert np.abs(outputs["swapped"] - expected["swapped"]).max() <= 1.01 * step


def test_a_constant_pad_is_exact_in_integers(tmp_path: Path) -> None:
    """The conv behind it sees exactly what PADV2 would have given, at the border too."""
    pad: graphs.Spec = ("Pad", [np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(0.5)], {"mode": "constant"})
    average: graphs.Spec = ("Conv", [np.full((3, 1, 3, 3), 1 / 9, np.float32)], {"group": 3})
    model = qdq.quantise(graphs.chain(8, [pad, average]), graphs.noise(8))
    path = graphs.write(model, tmp_path, precision="int8")
    difference = TARGET.load(path).run(graphs.noise(8))["swapped"] - qdq.run(model, graphs.noise(8))["swapped"]
    assert "PADV2" not in kinds(path)
    # One step: a tie rounded the other way.
    assert np.abs(difference).max() <= 1.01 * scale_of(path, "swapped.real")


def test_a_pad_that_stays_pads_with_the_quantised_value(tmp_path: Path) -> None:
    pad: graphs.Spec = ("Pad", [np.array([0, 0, 2, 1, 0, 0, 0, 1]), np.float32(0.5)], {"mode": "constant"})
    model = qdq.quantise(
        graphs.chain(8, [pad, ("Conv", [np.full((3, 3, 3, 3), 0.1, np.float32)], {})]), graphs.noise(8)
    )
    path = graphs.write(model, tmp_path, precision="int8")
    assert "PADV2" in kinds(path)
    outputs, expected = TARGET.load(path).run(graphs.noise(8)), qdq.run(model, graphs.noise(8))
    assert np.abs(outputs["swapped"] - expected["swapped"]).max() < 0.03


ISLANDS: Mapping[str, tuple[set[str], dict[str, int]]] = {
    "at the front": ({"pad.0", "conv.1"}, {"QUANTIZE": 2, "DEQUANTIZE": 3}),
    "inside": ({"conv.4"}, {"QUANTIZE": 2, "DEQUANTIZE": 3}),
    "at the end": ({"conv.9", "sigmoid.10", "sub.11", "mul.12", "swapped"}, {"QUANTIZE": 1, "DEQUANTIZE": 3}),
}


@pytest.mark.parametrize("where", ISLANDS)
def test_float_islands_meet_integers_at_their_shore(tmp_path: Path, where: str) -> None:
    floating, edges = ISLANDS[where]
    model = qdq.quantise(float_graph(), graphs.noise(SIZE), floating=floating)
    path = graphs.write(model, tmp_path, precision="int8-mixed")
    names = kinds(path)
    assert {name: names.count(name) for name in edges} == edges
    assert TARGET.load(path).engine.coverage()["partitions"] == 1
    outputs, expected = TARGET.load(path).run(graphs.noise(SIZE)), qdq.run(model, graphs.noise(SIZE))
    for name, reference in expected.items():
        assert fidelity.psnr(outputs[name] - reference) > 45


def test_unequal_scales_are_brought_together(quantised: ir.Model, tmp_path: Path) -> None:
    """The format wants one scale through a concat; a graph without is rescaled, not refused."""
    model = ir.from_proto(ir.to_proto(quantised))
    scale = model.graph.initializers["leakyrelu.3.scale"]
    assert scale.const_value is not None
    scale.const_value = ir.Tensor(scale.const_value.numpy() * np.float32(1.5), name=scale.name)
    path = graphs.write(model, tmp_path, precision="int8")
    assert kinds(path).count("QUANTIZE") == 2
    outputs, expected = TARGET.load(path).run(graphs.noise(SIZE)), qdq.run(model, graphs.noise(SIZE))
    assert fidelity.psnr(outputs["swapped"] - expected["swapped"]) > 45


def test_a_leaky_relu_onto_a_much_coarser_scale_stays_in_the_delegate(tmp_path: Path) -> None:
    """XNNPACK takes no slope below 1/256, which a concat with a large operand asks for."""
    wide: list[graphs.Spec] = [
        ("Mul", [np.float32(60)], {}),
        ("Mul", [np.float32(1 / 60)], {}),
        ("LeakyRelu", [], {"alpha": 0.1}),
        ("Concat", ["mul.0"], {"axis": 1}),
        ("Conv", [np.full((3, 6, 1, 1), 0.01, np.float32)], {}),
    ]
    model = qdq.quantise(graphs.chain(8, wide), graphs.noise(8))
    path = graphs.write(model, tmp_path, precision="int8")
    assert TARGET.load(path).engine.coverage()["outside"] == []
    outputs, expected = TARGET.load(path).run(graphs.noise(8)), qdq.run(model, graphs.noise(8))
    step = scale_of(path, "swapped.real")
    assert np.abs(outputs["swapped"] - expected["swapped"]).max() <= 1.01 * step


def scale_of(path: Path, name: str) -> float:
    quantisation = next(t.quantisation for t in validate.load(path).tensors if t.name == name)
    assert quantisation is not None
    return float(quantisation.scale[0])


def test_the_whole_network_in_int8(golden_folded: fold.FoldedIDN, golden: graphs.Arrays, tmp_path: Path) -> None:
    image = graphs.nchw(golden["target224/image"])
    real = graphs.idn(golden_folded.weights(), size=224)
    model = qdq.quantise(real, image)
    path = graphs.write(model, tmp_path, precision="int8")
    assert path.stat().st_size <= 660_000
    covered = TARGET.load(path).engine.coverage()
    assert (covered["partitions"], covered["outside"]) == (1, [])
    outputs, evaluated, exact = TARGET.load(path).run(image), qdq.run(model, image), qdq.run(real, image)
    for name, reference in exact.items():
        ours, theirs = (fidelity.psnr(result[name] - reference) for result in (outputs, evaluated))
        assert ours > theirs - 1.5


def test_unsigned_activations_are_the_same_numbers(quantised: ir.Model, tmp_path: Path) -> None:
    """ONNX quantisers often write uint8; TFLite's int8 is 128 below."""
    unsigned = ir.from_proto(ir.to_proto(quantised))
    for name, value in unsigned.graph.initializers.items():
        array = value.const_value.numpy() if value.const_value is not None else np.zeros(0)
        if name.endswith(".zero") and array.dtype == np.int8 and array.ndim == 0:
            value.const_value = ir.Tensor((array.astype(int) + 128).astype(np.uint8), name=name)
            value.dtype = ir.DataType.UINT8
    for node in unsigned.graph:
        if node.op_type == "QuantizeLinear":
            node.outputs[0].dtype = ir.DataType.UINT8
    signed, shifted = (TARGET.to_bytes(model, EmitOptions("int8")) for model in (quantised, unsigned))
    assert signed == shifted


def broken(model: ir.Model, name: str, array: np.ndarray) -> ir.Model:
    changed = ir.from_proto(ir.to_proto(model))
    changed.graph.initializers[name].const_value = ir.Tensor(array, name=name)
    return changed


def test_what_int8_cannot_say_is_named(quantised: ir.Model) -> None:
    wrong = {
        "conv.1.1.zero": (np.ones(3, np.int8), "Conv node conv.1: TFLite wants weights"),
        "conv.1.1.codes": (np.full((3, 1, 4, 4), -128, np.int8), "Conv node conv.1: TFLite wants weights"),
        "conv.1.2.codes": (np.full(3, 2**31 - 1, np.int32), "does not fit int32"),
        "conv.2.scale": (np.float32(0), "not a positive number"),
        "conv.2.zero": (np.int16(0), "int16 has no counterpart"),
    }
    for name, (array, message) in wrong.items():
        model = broken(quantised, name, np.asarray(array))
        if name == "conv.1.2.codes":  # at a scale 4 times as fine
            model = broken(model, "conv.1.2.scale", np.full(3, 1e3, np.float32))
        with pytest.raises(LoweringError, match=message):
            TARGET.to_bytes(model, EmitOptions("int8"))


def test_a_file_is_what_its_name_says(quantised: ir.Model) -> None:
    with pytest.raises(LoweringError, match="int8 was asked for, but the graph has no QuantizeLinear"):
        TARGET.to_bytes(float_graph(), EmitOptions("int8"))
    with pytest.raises(LoweringError, match="fp32 was asked for, but the graph has QuantizeLinear"):
        TARGET.to_bytes(quantised, EmitOptions("fp32"))


def test_no_cpu_saturates_with_what_was_written(every_integers: tuple[ir.Model, str], tmp_path: Path) -> None:
    """XNNPACK adds in 32 bits, so this is for other executors of the file."""
    model, precision = every_integers
    path = graphs.write(model, tmp_path, precision=precision)
    artefact = validate.load(path)
    kernels = []
    for operator in artefact.operators:
        if operators.BY_CODE[operator.code].name == "CONV_2D":
            filters = artefact.tensors[operator.inputs[1]]
            start, size = filters.content
            if filters.dtype == "int8":
                codes = np.frombuffer(path.read_bytes()[start : start + size], np.int8).reshape(filters.shape)
                kernels.append(codes.transpose(0, 3, 1, 2))  # [O, h, w, I]
    assert len(kernels) >= 8
    assert largest_sum(kernels) <= neighbours.LIMIT
