"""The saved package, run by the evaluator, against the authors' own output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mfs_edge.targets.coreml import evaluator as mil

from mfs_edge import sample
from mfs_edge.base import images
from mfs_edge.base.artefact import Artefact
from mfs_edge.base.fidelity import psnr
from tests.targets.coreml.conftest import altered_blob

BYTE_ROUNDING = 0.5 / 255
GOLDEN_TOLERANCE = 5e-5
HALF_DB = 55.0
FP16_BYTES = 1_100_000


def differences(outputs: Any, golden: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
    return outputs["swapped"][0] - golden[f"target{size}/output"], outputs["mask"][0] - golden[f"target{size}/mask"]


@pytest.mark.parametrize("level", [1, 0])
@pytest.mark.parametrize("size", [224, 256])
def test_float32_is_golden(package: Any, frame: Any, golden: Any, size: int, level: int) -> None:
    outputs = mil.Package.open(package(size=size, level=level)).run(frame(size))
    swapped, mask = differences(outputs, golden, size)
    assert np.abs(swapped).max() < GOLDEN_TOLERANCE
    assert np.abs(mask).max() < GOLDEN_TOLERANCE


@pytest.mark.parametrize("size", [224, 256])
def test_float32_with_images(package: Any, frame: Any, golden: Any, size: int) -> None:
    """The golden input is whole bytes, so only the output's rounding to bytes may show."""
    outputs = mil.Package.open(package(size=size, io="image")).run(frame(size))
    swapped, mask = differences(outputs, golden, size)
    assert np.abs(swapped).max() < BYTE_ROUNDING + GOLDEN_TOLERANCE
    assert np.abs(mask).max() < GOLDEN_TOLERANCE


@pytest.mark.parametrize("io", ["image", "float32", "uint8"])
@pytest.mark.parametrize("size", [224, 256])
def test_half_precision_of_the_golden_network(package: Any, frame: Any, golden: Any, size: int, io: str) -> None:
    outputs = mil.Package.open(package(precision="fp16", io=io, size=size)).run(frame(size))
    levels = [psnr(difference) for difference in differences(outputs, golden, size)]
    assert min(levels) >= HALF_DB


@pytest.mark.parametrize("balanced", [False, True])
def test_half_precision_overflows_unless_balanced(package: Any, frame: Any, golden: Any, balanced: bool) -> None:
    """The simulated half precision must see an overflow, or it proves nothing."""
    path = package("wild", precision="fp16", size=224, balanced=balanced)
    levels = [psnr(difference) for difference in differences(mil.Package.open(path).run(frame(224)), golden, 224)]
    assert (min(levels) >= HALF_DB) is balanced


def test_half_precision_of_the_demo(package: Any, check: Any) -> None:
    image = images.to_nchw(sample.target(int(check["0/target"])))
    outputs = mil.Package.open(package("demo", precision="fp16", io="image")).run(image)
    assert psnr(outputs["swapped"][0] - check["0/output"]) >= HALF_DB
    assert psnr(outputs["mask"][0] - check["0/mask"]) >= HALF_DB


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("io", ["float32", "image"])
def test_other_sizes(package: Any, graph: Any, size: int, io: str) -> None:
    import onnx_ir as ir
    import onnxruntime as ort

    image = np.rint(np.random.default_rng(1).random((1, 3, size, size)) * 255).astype(np.float32) / 255
    session = ort.InferenceSession(ir.to_proto(graph(size=size, level=0)).SerializeToString())
    expected = dict(zip(("swapped", "mask"), session.run(["swapped", "mask"], {"image": image}), strict=True))
    found = mil.Package.open(package(size=size, io=io)).run(image)
    rounding = BYTE_ROUNDING if io == "image" else 0.0
    assert np.abs(found["swapped"] - expected["swapped"]).max() < GOLDEN_TOLERANCE + rounding
    assert np.abs(found["mask"] - expected["mask"]).max() < GOLDEN_TOLERANCE


@pytest.mark.parametrize(("precision", "io", "casts"), [
    ("fp32", "float32", 0), ("fp32", "image", 0), ("fp16", "float32", 3), ("fp16", "image", 2), ("fp16", "uint8", 3),
])  # fmt: skip
def test_operators_are_those_of_the_graph(package: Any, graph: Any, precision: str, io: str, casts: int) -> None:
    opened = mil.Package.open(package(precision=precision, io=io, size=224))
    kinds = Counter(operation.type for operation in opened.operations())
    nodes = Counter(node.op_type for node in graph(size=224).graph)
    assert kinds["conv"] == nodes["Conv"]
    assert kinds["upsample_bilinear"] == nodes["Resize"]
    assert kinds["leaky_relu"] == nodes["LeakyRelu"]
    assert kinds["cast"] == casts
    bytes_in_and_out = {"float32": 0, "image": 2, "uint8": 3}[io]
    assert kinds.total() - kinds["const"] == nodes.total() + casts + bytes_in_and_out


def test_no_float32_arithmetic_in_half_precision(package: Any) -> None:
    """Only the program's ends are float32; the product with 1/255 is not."""
    opened = mil.Package.open(package(precision="fp16", io="image", size=224))
    wide = [
        o
        for o in opened.operations()
        if o.type != "const" and o.outputs[0].type.tensorType.dataType == mil.MIL_pb2.FLOAT32
    ]
    assert [(o.type, o.outputs[0].name) for o in wide] == [("cast", "swapped")]
    assert next(o.type for o in opened.operations() if o.type != "const") == "cast"


def test_no_constant_is_unused_and_none_is_stored_twice(package: Any) -> None:
    opened = mil.Package.open(package(precision="fp16", io="image", size=224))
    used = {b.name for o in opened.operations() for argument in o.inputs.values() for b in argument.arguments}
    constants = list(opened.operations("const"))
    assert {o.outputs[0].name for o in constants} <= used
    stored = [v.offset for o in constants if (v := o.attributes["val"].blobFileValue).fileName]
    assert len(stored) == len(set(stored))


def test_weights_are_in_the_weight_file(package: Any) -> None:
    opened = mil.Package.open(package(precision="fp16", io="image", size=224))
    inline = [
        o.outputs[0].name
        for o in opened.operations("const")
        if o.attributes["val"].WhichOneof("value") == "immediateValue"
        and np.prod([d.constant.size for d in o.outputs[0].type.tensorType.dimensions], dtype=int) >= 10
    ]
    assert inline == []


def test_names_are_kept(package: Any, graph: Any) -> None:
    opened = mil.Package.open(package(precision="fp16", io="image", size=224))
    produced = {o.outputs[0].name for o in opened.operations()}
    wanted = {(node.name or "").replace(".", "_") for node in graph(size=224).graph}
    assert wanted <= produced
    assert list(opened.block.outputs) == ["swapped", "mask"]
    assert [value.name for value in opened.function.inputs] == ["image"]
    assert "Encoder_1_1_weight" in produced


def test_size_budget(package: Any) -> None:
    assert Artefact(package(precision="fp16", io="image", size=224)).size <= FP16_BYTES


Mutation = Callable[[mil.Package], None]


def constant(opened: mil.Package, output: str, parameter: str) -> Any:
    """The immediate tensor of the constant that is ``output``'s ``parameter``."""
    operation = next(o for o in opened.operations() if o.outputs[0].name == output)
    name = operation.inputs[parameter].arguments[0].name
    return (
        next(o for o in opened.operations("const") if o.outputs[0].name == name).attributes["val"].immediateValue.tensor
    )


def flip_weight_byte(name: str, index: int) -> Mutation:
    """Turn the sign of one float32 weight."""

    def mutate(opened: mil.Package) -> None:
        value = next(o for o in opened.operations("const") if o.outputs[0].name == name).attributes["val"]
        with altered_blob(opened, value) as data:
            data[4 * index + 3] ^= 0x80

    return mutate


def set_integers(output: str, parameter: str, values: list[int]) -> Mutation:
    def mutate(opened: mil.Package) -> None:
        tensor = constant(opened, output, parameter)
        assert list(tensor.ints.values) != values
        tensor.ints.values[:] = values

    return mutate


def set_centre(opened: mil.Package) -> None:
    constant(opened, "normalise_centre", "y").floats.values[:] = [0.0]


def set_slope(opened: mil.Package) -> None:
    constant(opened, "encoder_2_leaky", "alpha").floats.values[:] = [0.2]


def swap_concat(opened: mil.Package) -> None:
    arguments = next(opened.operations("concat")).inputs["values"].arguments
    first, second = arguments[0].name, arguments[1].name
    arguments[0].name, arguments[1].name = second, first


MUTATIONS = {
    "a weight byte of the first depthwise": flip_weight_byte("Encoder_0_0_weight", 7),
    "a weight byte of a pointwise": flip_weight_byte("Encoder_1_1_weight", 100),
    "a weight byte of the last conv": flip_weight_byte("final_7_weight", 13),
    "a weight byte of the mask": flip_weight_byte("mask_5_weight", 4),
    "a pad moved": set_integers("encoder_1_depthwise", "pad", [0, 2, 1, 1]),
    "a pad transposed": set_integers("decoder_2_depthwise", "pad", [1, 1, 0, 2]),
    "a pad dropped": set_integers("decoder_1_depthwise", "pad", [0, 0, 0, 0]),
    "the input's pad moved": set_integers("encoder_0_depthwise", "pad", [2, 0, 1, 1]),
    "the input's centre": set_centre,
    "a stride": set_integers("encoder_3_depthwise", "strides", [1, 1]),
    "one stride of two": set_integers("encoder_3_depthwise", "strides", [2, 1]),
    "an axis": set_integers("decoder_0_concat", "axis", [2]),
    "another axis": set_integers("decoder_1_concat", "axis", [0]),
    "a slope": set_slope,
    "the order of a concat": swap_concat,
    "the groups": set_integers("encoder_2_depthwise", "groups", [1]),
}


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS.keys())
def test_a_change_is_noticed(package: Any, frame: Any, golden: Any, mutation: Mutation) -> None:
    opened = mil.Package.open(package(size=224))
    mutation(opened)
    try:
        outputs = opened.run(frame(224))
    except mil.EvaluationError:
        return
    swapped, mask = differences(outputs, golden, 224)
    assert max(np.abs(swapped).max(), np.abs(mask).max()) > GOLDEN_TOLERANCE
