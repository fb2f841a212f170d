"""Our counts against the paper's, and against what can be counted by hand."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from mfs_edge.base.errors import InputError
from mfs_edge.graph import passes
from mfs_edge.graph.cost import Cost, count, live_bytes

Plain = Callable[[int], ir.Model]

BUDGETS = tomllib.loads((Path(__file__).parents[2] / "benchmarks" / "budgets.toml").read_text())


def hold(row: dict[str, Any], *, params: float | None = None, g: float | None = None) -> None:
    """A published row: within its margin, and explained where the margin is over 1 %."""
    for published, ours in ((row.get("params"), params), (row.get("g"), g)):
        if ours is None:
            continue
        assert abs(ours / published - 1) <= row["within"]
        if abs(ours / published - 1) > 0.01:
            assert row["because"]
            assert round(ours + sum(row["itemised"].values()), 2) == published


@pytest.mark.parametrize("size", [224, 256])
def test_papers_row(plain: Plain, size: int) -> None:
    cost = count(plain(size))
    hold(BUDGETS["paper"]["idn"], params=cost.parameters / 1e6)
    hold(BUDGETS["paper"][f"idn-{size}"], g=cost.paper / 1e9)


def test_itemised_difference_is_what_it_says(plain: Plain) -> None:
    norms = [node for node in count(plain(256)).nodes if node.operator == "BatchNormalization"]
    (item,) = BUDGETS["paper"]["idn-256"]["itemised"].values()
    assert item == pytest.approx(sum(node.paper for node in norms) / 1e9, abs=1e-6)


@pytest.mark.parametrize("size", [224, 256])
def test_budgets(plain: Plain, size: int) -> None:
    budget = BUDGETS["graph"][str(size)]
    before, after = count(plain(size)), count(passes.optimise(plain(size)))
    assert (before.macs, after.macs) == (budget["macs_plain"], budget["macs_optimised"])
    assert (len(before.nodes), len(after.nodes)) == (budget["nodes_plain"], budget["nodes_optimised"])
    assert after.macs <= budget.get("macs_limit", after.macs)
    assert after.weight_bytes <= budget.get("weight_bytes_optimised", after.weight_bytes)
    assert max(before.peak_bytes, after.peak_bytes) == budget["peak_bytes"]


def test_totals_are_the_nodes_sums(plain: Plain) -> None:
    cost = count(plain(224))
    for name in ("parameters", "weight_bytes", "macs", "flops", "paper"):
        assert getattr(cost, name) == sum(getattr(node, name) for node in cost.nodes)
    assert cost.flops > 2 * cost.macs
    assert cost.peak_bytes == next(node.live_bytes for node in cost.nodes if node.name == cost.peak_node)


def test_one_node_by_hand(plain: Plain) -> None:
    nodes = {node.name: node for node in count(plain(224)).nodes}
    first = nodes["encoder.0.depthwise"]  # 3 channels, 4x4, stride 2
    assert first.shape == (1, 3, 112, 112)
    assert first.macs == first.paper == 3 * 112 * 112 * 16
    assert first.flops == 2 * first.macs
    assert first.parameters == 3 * 16
    assert first.weight_bytes == 4 * 3 * 16
    assert nodes["tail.0.norm"].parameters == 2 * 8
    assert nodes["tail.0.norm"].weight_bytes == 4 * 4 * 8
    assert nodes["tail.up"].paper == 4 * 32 * 224 * 224


def test_weights_are_all_the_initialisers(plain: Plain) -> None:
    model = passes.optimise(plain(224))
    stored = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    assert count(model).weight_bytes == stored


def test_shared_weights_count_once() -> None:
    first = _model(["y = Conv(x, w)", "z = Conv(y, w)"])
    assert count(first).parameters == count(_model(["y = Conv(x, w)", "z = Sigmoid(y)"])).parameters == 3 * 3
    assert count(first).macs == 2 * 3 * 3 * 64


def test_live_bytes_by_hand() -> None:
    # x -> a -> b, and c from both a and b: at c, a (10), b (20) and c (40) are alive.
    steps = [(["x"], ["a"]), (["a"], ["b"]), (["a", "b"], ["c"]), (["c"], ["y"])]
    sizes = {"x": 1, "a": 10, "b": 20, "c": 40, "y": 80}
    assert live_bytes(steps, sizes, inputs=["x"], outputs=["y"]) == [11, 30, 70, 120]
    assert live_bytes(steps, sizes, inputs=["x"], outputs=["y", "a"]) == [11, 30, 70, 130]


def test_constants_occupy_no_activation_memory() -> None:
    cost = count(_model(["y = Conv(x, w)", "z = Sigmoid(y)"]))
    tensor = 4 * 3 * 64
    assert [node.live_bytes for node in cost.nodes] == [2 * tensor, 2 * tensor]


def test_quantised_tensors_are_stored_in_integers() -> None:
    quantised = [
        "xq = QuantizeLinear(x, scale, zero)",
        "xf = DequantizeLinear(xq, scale, zero)",
        "wf = DequantizeLinear(wq, scale, wzero)",
        "yf = Conv(xf, wf)",
        "yq = QuantizeLinear(yf, scale, zero)",
        "z = DequantizeLinear(yq, scale, zero)",
    ]
    cost = count(_model(quantised))
    floats, integers = 4 * 3 * 64, 3 * 64
    assert cost.parameters == 3 * 3
    assert cost.weight_bytes == 3 * 3 + 4 + 1 + 1  # int8 kernel, one scale, two zero points
    assert [node.live_bytes for node in cost.nodes] == [
        floats + integers,
        integers,
        integers,
        2 * integers,
        integers,
        integers + floats,
    ]
    assert cost.macs == 9 * 64


def test_a_file_without_shapes_is_inferred(plain: Plain) -> None:
    model = plain(96)
    bare = model.clone()
    for node in bare.graph:
        if not node.outputs[0].is_graph_output():
            node.outputs[0].shape = None
    assert count(bare) == count(model)
    assert any(node.outputs[0].shape is None for node in bare.graph), "the caller's graph is left alone"


def test_a_graph_of_no_fixed_size_is_refused() -> None:
    with pytest.raises(InputError, match="tensor x has no fixed shape"):
        count(_model(["y = Sigmoid(x)"], shape="N,3,8,8"))


def test_an_empty_graph_costs_nothing() -> None:
    assert (Cost(()).macs, Cost(()).peak_bytes, Cost(()).peak_node) == (0, 0, "")


def _model(lines: list[str], *, shape: str = "1,3,8,8") -> ir.Model:
    """A graph in ONNX's text form, over a few constants."""
    last = lines[-1].split(" =")[0]
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    g (float[{shape}] x) => (float[{shape}] {last}) {{ {" ".join(lines)} }}"""
    proto = onnx.parser.parse_model(text)
    kernel = np.ones((3, 3, 1, 1))
    constants = {
        "w": kernel.astype(np.float32),
        "wq": kernel.astype(np.int8),
        "scale": np.float32(0.1),
        "zero": np.uint8(3),
        "wzero": np.int8(0),
    }
    used = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items() if name in used
    )
    return ShapeInferencePass()(ir.from_proto(proto)).model
