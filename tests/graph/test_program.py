"""Counts from an artefact's bytes agree with the compiler's, in every format, and see what is planted."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from mfs_edge import sample, target
from mfs_edge.base import images
from mfs_edge.base.errors import InputError
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, cost, passes
from mfs_edge.measure import facts
from mfs_edge.program import Program
from mfs_edge.quantize import quantise
from tests.conftest import ARTEFACT_SIZE as SIZE
from tests.measure.plant import insert_transposes, widen

FORMATS = ("idn.onnx", "idn.tflite", "idn.xml")


def read(path: Path) -> Program:
    return target.of_file(path).read(path)


def count(path: Path) -> cost.Cost:
    return cost.count(read(path))


@pytest.fixture(scope="module")
def expected(demo_folded: FoldedIDN) -> cost.Cost:
    return cost.count(passes.optimise(build.build(demo_folded.weights(), size=SIZE), level=1))


@pytest.mark.parametrize("name", FORMATS)
def test_counts_are_the_compilers(artefacts: Path, expected: cost.Cost, name: str) -> None:
    found = count(artefacts / name)
    assert (found.macs, found.paper, found.peak_bytes) == (expected.macs, expected.paper, expected.peak_bytes)
    # A TFLite file has a bias for every convolution, and zeros in its blocks of pixels.
    assert found.parameters == pytest.approx(expected.parameters, rel=0.05 if name.endswith(".tflite") else 0.01)
    assert (found.added_macs > 0) == name.endswith(".tflite")
    assert not any(step.kind == "Transpose" for step in read(artefacts / name).steps)


def test_onnx_counts_are_exactly_the_compilers(artefacts: Path, expected: cost.Cost) -> None:
    found = count(artefacts / "idn.onnx")
    assert (found.parameters, found.flops) == (expected.parameters, expected.flops)


@pytest.mark.parametrize("level", [0, 1])
def test_the_plain_graph_too(demo_folded: FoldedIDN, tmp_path: Path, level: int) -> None:
    graph = passes.optimise(build.build(demo_folded.weights(), size=SIZE), level=level)
    ir.save(graph, tmp_path / "idn.onnx")
    found, wanted = count(tmp_path / "idn.onnx"), cost.count(graph)
    assert (found.parameters, found.macs, found.flops, found.paper, found.peak_bytes) == (
        *(wanted.parameters, wanted.macs, wanted.flops, wanted.paper),
        wanted.peak_bytes,
    )


def test_the_hash_is_of_the_graph_and_not_of_the_weights(artefacts: Path, tmp_path: Path) -> None:
    model = onnx.load(artefacts / "idn.onnx")
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > 8:
            tensor.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(1.5), tensor.name))
    onnx.save(model, tmp_path / "other.onnx")
    assert read(tmp_path / "other.onnx").hash == read(artefacts / "idn.onnx").hash


def test_the_hash_sees_attributes(artefacts: Path, tmp_path: Path) -> None:
    model = onnx.load(artefacts / "idn.onnx")
    leaky = next(node for node in model.graph.node if node.op_type == "LeakyRelu")
    leaky.attribute[0].f = 0.3
    onnx.save(model, tmp_path / "other.onnx")
    assert read(tmp_path / "other.onnx").hash != read(artefacts / "idn.onnx").hash


def test_planted_transposes_are_counted(artefacts: Path, tmp_path: Path) -> None:
    insert_transposes(artefacts / "idn.onnx", tmp_path / "slow.onnx")
    assert read(tmp_path / "slow.onnx").operators["Transpose"] == 2
    assert facts.of(tmp_path / "slow.onnx").transposes == 2


def test_a_planted_convolution_is_counted(artefacts: Path, tmp_path: Path) -> None:
    widen(artefacts / "idn.onnx", tmp_path / "slow.onnx", share=0.15)
    found, base = count(tmp_path / "slow.onnx").macs, count(artefacts / "idn.onnx").macs
    assert found > 1.1 * base


def test_without_shapes_counts_are_unknown_and_not_wrong(artefacts: Path, tmp_path: Path) -> None:
    model = onnx.load(artefacts / "idn.onnx")
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "bare.onnx")
    found = facts.of(tmp_path / "bare.onnx")
    assert (found.macs, found.flops, found.paper, found.peak_activation_bytes) == (None,) * 4
    assert found.parameters == count(artefacts / "idn.onnx").parameters


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.97])
def test_truncated_files_are_refused_or_read(artefacts: Path, tmp_path: Path, name: str, keep: float) -> None:
    content = (artefacts / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(InputError, match=f"{name}.*(damaged|is not)"):
        read(path)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_bytes_end_in_one_kind_of_error(artefacts: Path, tmp_path: Path, name: str) -> None:
    content = bytearray((artefacts / name).read_bytes())
    rng = np.random.default_rng(0)
    for trial in range(30):
        broken = bytearray(content)
        for place in rng.integers(0, min(len(broken), 60_000), 20):
            broken[place] = rng.integers(256)
        path = tmp_path / f"{trial}{Path(name).suffix}"
        path.write_bytes(bytes(broken))
        with contextlib.suppress(InputError):  # any other exception is a defect
            read(path)


def test_quantised_graphs_are_counted_where_they_are_stored(tmp_path: Path) -> None:
    """Integers between QuantizeLinear and DequantizeLinear, and integer weights behind a DequantizeLinear."""
    rng = np.random.default_rng(0)
    weights = {
        **{"scale": np.float32(0.1), "zero": np.uint8(128), "w_scale": np.full(8, 0.01, np.float32)},
        **{"w_zero": np.zeros(8, np.int8), "w": rng.integers(-9, 9, (8, 3, 3, 3)).astype(np.int8)},
        **{"b": np.zeros(8, np.int32), "b_zero": np.zeros(8, np.int32)},
    }
    make = onnx.helper.make_node
    nodes = [
        make("QuantizeLinear", ["x", "scale", "zero"], ["x.q"]),
        make("DequantizeLinear", ["x.q", "scale", "zero"], ["x.dq"]),
        make("DequantizeLinear", ["w", "w_scale", "w_zero"], ["w.dq"], axis=0),
        make("DequantizeLinear", ["b", "w_scale", "b_zero"], ["b.dq"], axis=0),
        make("Conv", ["x.dq", "w.dq", "b.dq"], ["c"], pads=[1, 1, 1, 1]),
        make("QuantizeLinear", ["c", "scale", "zero"], ["c.q"]),
        make("DequantizeLinear", ["c.q", "scale", "zero"], ["y"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(n, 1, [1, c, 16, 16]) for n, c in (("x", 3), ("y", 8))]
    stored = [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items()]
    graph = onnx.helper.make_graph(nodes, "q", ends[:1], ends[1:], stored)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), tmp_path / "q.onnx")
    found, wanted = count(tmp_path / "q.onnx"), cost.count(ir.load(tmp_path / "q.onnx"))
    assert found.macs == wanted.macs == 8 * 16 * 16 * 27
    assert found.parameters == 8 * 27 + 8
    assert found.peak_bytes == wanted.peak_bytes


def test_openvino_keeps_levels_and_dequantises_weights_once(demo_folded: FoldedIDN, tmp_path: Path) -> None:
    graph = passes.optimise(build.build(demo_folded.weights(), size=SIZE), level=1)
    pictures = [images.to_nchw(images.resize(sample.target(i), SIZE)) for i in range(32, 40)]
    graph = quantise(graph, pictures, precision="int8").model
    found = {}
    for name in ("onnx", "openvino"):
        kind = target.get(name)
        kind.emit(graph, tmp_path / f"int8{kind.suffix}", target.EmitOptions(precision="int8"))
        found[name] = count(tmp_path / f"int8{kind.suffix}")
    assert (found["openvino"].macs, found["openvino"].flops) == (found["onnx"].macs, found["onnx"].flops)
    assert found["openvino"].parameters == pytest.approx(found["onnx"].parameters, rel=1e-3)
    assert found["openvino"].peak_bytes == pytest.approx(found["onnx"].peak_bytes, rel=0.05)
