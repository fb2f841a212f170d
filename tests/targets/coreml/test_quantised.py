"""Integers in Core ML's form, evaluated from the saved package."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from coremltools.proto import MIL_pb2
from mfs_edge.targets.coreml import CoremlOptions, CoremlTarget, evaluator, package, quantised

from mfs_edge.base import files
from mfs_edge.base.artefact import Artefact
from mfs_edge.base.errors import InputError
from mfs_edge.graph import edit
from mfs_edge.quantize import execute, quantise
from mfs_edge.target import EmitOptions
from tests.targets.coreml.conftest import altered_blob
from tests.targets.integers import LOST_DB, Graphs, faces, levels

TARGET = CoremlTarget()
Writer = Callable[..., Path]


@pytest.fixture(scope="module")
def written(integers: Graphs, tmp_path_factory: pytest.TempPathFactory) -> Writer:
    folder = tmp_path_factory.mktemp("integers")

    @functools.cache
    def write(precision: str = "int8", *, io: str = "float32", ios: int = 17) -> Path:
        path = folder / f"{precision}-{io}-{ios}.mlpackage"
        TARGET.emit(integers(precision), path, EmitOptions(precision=precision, io=io, own=CoremlOptions(min_ios=ios)))
        return path

    return write


@pytest.mark.parametrize("precision", ["int8", "int8-mixed"])
@pytest.mark.parametrize("io", ["float32", "image"])
def test_it_is_as_good_as_the_graph(written: Writer, integers: Graphs, precision: str, io: str) -> None:
    found = levels(TARGET.evaluator(written(precision, io=io)), integers("fp32"))
    wanted = levels(execute.Session(integers(precision), as_written=True), integers("fp32"))
    assert all(found[name] > wanted[name] - LOST_DB for name in wanted)


def test_weights_alone_keep_more_of_the_picture(written: Writer, integers: Graphs) -> None:
    both, weights = (levels(TARGET.evaluator(written(ios=ios)), integers("fp32")) for ios in (17, 16))
    assert all(weights[name] > both[name] + 2 for name in both)


def kinds(path: Path) -> Counter[str]:
    return Counter(operation.type for operation in evaluator.Package.open(path).operations())


def test_every_convolution_reads_integers(written: Writer) -> None:
    opened = evaluator.Package.open(written())
    made = {operation.outputs[0].name: operation for operation in opened.operations()}
    convolutions = list(opened.operations("conv"))
    for conv in convolutions:
        assert made[conv.inputs["x"].arguments[0].name].type == "dequantize"
        weight = made[conv.inputs["weight"].arguments[0].name]
        assert weight.type == "constexpr_affine_dequantize"
        assert weight.attributes["quantized_data"].type.tensorType.dataType == MIL_pb2.INT8
    pairs = kinds(written())
    assert pairs["quantize"] == pairs["dequantize"] <= len(convolutions)
    assert f"{len(convolutions)} also with int8 activations" in TARGET.evaluator(written()).execution()


def test_before_ios_17_only_weights_are_integers_and_the_manifest_says_so(written: Writer) -> None:
    found = kinds(written(ios=16))
    assert found["constexpr_affine_dequantize"] == found["conv"]
    assert found["quantize"] == found["dequantize"] == 0
    assert "only the weights are int8, as iOS 16" in TARGET.remarks(TARGET.read(written(ios=16)))[0]
    assert TARGET.remarks(TARGET.read(written())) == []


def test_a_relu_that_was_saturation_becomes_one_again(integers: Graphs) -> None:
    """Without its pair, nothing would cut the halves of a LeakyReLU off at zero."""
    halves = [node for node in integers("int8").graph if node.op_type == "Relu"]
    assert not halves
    bare = quantised.prepare(integers("int8"), min_ios=16)
    assert sum(node.op_type == "Relu" for node in bare.graph) >= 2
    assert not list(edit.of_type(bare.graph, "QuantizeLinear"))


def test_mixed_keeps_some_weights_in_half_precision(written: Writer, integers: Graphs) -> None:
    found = kinds(written("int8-mixed"))
    convs = list(edit.of_type(integers("int8-mixed").graph, "Conv"))
    stored = sum(edit.producer(conv.inputs[1], "DequantizeLinear") is not None for conv in convs)
    assert 0 < found["constexpr_affine_dequantize"] == stored < found["conv"]


def test_a_dead_tensor_has_a_scale_that_half_precision_holds(integers: Graphs, tmp_path: Path) -> None:
    plain = integers("fp32").clone()
    edit.set_weight(plain.graph, next(edit.of_type(plain.graph, "Conv")), 1, np.zeros((3, 1, 4, 4)))
    dead = quantise(plain, faces(range(32, 36))).model
    path = tmp_path / "dead.mlpackage"
    TARGET.emit(dead, path, EmitOptions(precision="int8"))
    outputs = TARGET.evaluator(path).run(faces(range(1))[0])
    assert all(np.isfinite(value).all() for value in outputs.values())


def test_equal_graphs_make_equal_bytes(written: Writer, integers: Graphs, tmp_path: Path) -> None:
    again = tmp_path / written().name
    TARGET.emit(integers("int8"), again, EmitOptions(precision="int8"))
    assert files.sha256(again) == files.sha256(written())


def test_size_budget(written: Writer) -> None:
    assert Artefact(written()).size <= 660_000


def scaled_weights(opened: evaluator.Package) -> None:
    """Every weight of one convolution has the wrong sign."""
    held = next(
        o for o in opened.operations("constexpr_affine_dequantize") if o.outputs[0].name == "tail_1_norm_weight"
    )
    with altered_blob(opened, held.attributes["quantized_data"]) as data:
        for index in range(64):
            data[index] = -data[index] % 256


def moved_zero_point(opened: evaluator.Package) -> None:
    used = next(o for o in opened.operations("quantize") if o.outputs[0].name == "decoder_3_leaky_quantised")
    name = used.inputs["zero_point"].arguments[0].name
    held = next(o for o in opened.operations("const") if o.outputs[0].name == name)
    held.attributes["val"].immediateValue.tensor.bytes.values = b"\x30"


def wrong_axis(opened: evaluator.Package) -> None:
    held = next(o for o in opened.operations("constexpr_affine_dequantize") if "pointwise" in o.outputs[0].name)
    held.attributes["axis"].immediateValue.tensor.ints.values[:] = [1]


@pytest.mark.parametrize("change", [scaled_weights, moved_zero_point, wrong_axis])
def test_a_change_is_noticed(written: Writer, integers: Graphs, change: Callable[[evaluator.Package], None]) -> None:
    opened = evaluator.Package.open(written())
    change(opened)
    good = levels(TARGET.evaluator(written()), integers("fp32"))
    try:
        bad = levels(opened, integers("fp32"))
    except InputError:
        return
    assert bad["swapped"] < good["swapped"] - 3


def test_damaged_integers_are_an_error(written: Writer, tmp_path: Path) -> None:
    """The weight file is hashed, and its blobs are looked for."""
    import shutil

    copy = tmp_path / "damaged.mlpackage"
    shutil.copytree(written(), copy)
    weights = copy / package.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-4096])
    with pytest.raises(InputError, match=r"weight\.bin.*(truncated|damaged)"):
        TARGET.read(copy)
