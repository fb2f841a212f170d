"""Graphs that nobody's converter writes: told what they cost in time, or refused by a line that names the file."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mfs_edge import target
from mfs_edge.base.errors import InputError
from mfs_edge.graph import cost
from mfs_edge.measure import facts
from mfs_edge.program import Origins, Program, Step, Value, sound

SHAPE = [1, 3, 8, 8]
ELEMENTS = 3 * 8 * 8
LONG = 30_000


def declared(name: str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, SHAPE)


def written(folder: Path, nodes: list[onnx.NodeProto], *stored: np.ndarray, output: str = "y") -> Path:
    """x -> ``output``, every tensor's shape declared; ``stored`` are called c0, c1 and so on."""
    names = {name for node in nodes for name in node.output} - {output, ""}
    constants = [numpy_helper.from_array(array, f"c{number}") for number, array in enumerate(stored)]
    known = [declared(name) for name in sorted(names)]
    graph = helper.make_graph(nodes, "g", [declared("x")], [declared(output)], constants, value_info=known)
    path = folder / "strange.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def counted(path: Path) -> cost.Cost:
    program = target.of_file(path).read(path)
    facts.of(path)
    program.quantised()
    return cost.count(program)


def test_sums_of_a_constant_with_itself_are_computed_once(tmp_path: Path) -> None:
    doubled = [helper.make_node("Add", [f"c{n}", f"c{n}"], [f"c{n + 1}"]) for n in range(40)]
    path = written(tmp_path, [*doubled, helper.make_node("Add", ["x", "c40"], ["y"])], np.ones(SHAPE, np.float32))
    found = counted(path)
    assert found.flops == ELEMENTS
    assert found.weight_bytes == 4 * ELEMENTS


def test_sums_of_a_picture_with_itself_are_counted_each(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x" if n == 0 else f"a{n}"] * 2, [f"a{n + 1}"]) for n in range(60)]
    assert counted(written(tmp_path, nodes, output="a60")).flops == 60 * ELEMENTS


def test_a_long_chain_is_counted(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sigmoid", ["x" if n == 0 else f"a{n}"], [f"a{n + 1}"]) for n in range(LONG)]
    before = time.process_time()
    assert counted(written(tmp_path, nodes, output=f"a{LONG}")).flops == LONG * ELEMENTS
    assert time.process_time() - before < 60  # what is quadratic takes hours


def test_a_long_chain_of_integers_is_followed_in_one_pass() -> None:
    steps = [
        Step("Q" if n % 2 else "D", "QuantizeLinear" if n % 2 else "DequantizeLinear", (f"{n}",), (f"{n + 1}",))
        for n in range(LONG)
    ]
    values = {f"{n}": Value((1,), "int8", 8) for n in range(LONG + 1)}
    origins = Origins(Program("f", tuple(steps), values, ("0",), (f"{LONG}",)))
    assert origins.storage("3") == "2"
    assert origins.storage(f"{LONG}") == f"{LONG}"
    biases = tuple(Step("Add", "Bias", (f"{n}",), (f"{n + 1}",)) for n in range(LONG))
    origins = Origins(Program("f", biases, values, ("0",), (f"{LONG}",)))
    assert {origins.storage(f"{n}") for n in range(1, LONG + 1)} == {f"{LONG}"}


def test_operators_out_of_order_are_sorted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sigmoid", ["b"], ["y"], "last"),
        helper.make_node("Relu", ["a"], ["b"], "middle"),
        helper.make_node("Tanh", ["x"], ["a"], "first"),
    ]
    assert [node.name for node in counted(written(tmp_path, nodes)).nodes] == ["first", "middle", "last"]


def test_outputs_that_are_left_out_are_legitimate(tmp_path: Path) -> None:
    nodes = [helper.make_node("LSTM", ["x", "c0", "c0"], ["", "y"])]
    assert counted(written(tmp_path, nodes, np.ones(SHAPE, np.float32))).weight_bytes == 4 * ELEMENTS


CIRCLES = {
    "of one": [helper.make_node("Relu", ["a"], ["a"]), helper.make_node("Relu", ["x"], ["y"])],
    "of two": [helper.make_node("Relu", ["y"], ["a"]), helper.make_node("Relu", ["a"], ["y"])],
    "of integers": [
        helper.make_node("DequantizeLinear", ["q", "c0"], ["d"]),
        helper.make_node("QuantizeLinear", ["d", "c0"], ["q"]),
        helper.make_node("Relu", ["x"], ["y"]),
    ],
    "long": [helper.make_node("Relu", [f"a{n}"], [f"a{(n + 1) % 5000}"]) for n in range(5000)]
    + [helper.make_node("Relu", ["x"], ["y"])],
}


@pytest.mark.parametrize("nodes", CIRCLES.values(), ids=CIRCLES)
def test_a_circle_is_refused(tmp_path: Path, nodes: list[onnx.NodeProto]) -> None:
    path = written(tmp_path, nodes, np.float32(0.1))
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: its operators wait for each other in a circle"):
        counted(path)


DANGLING = {
    "an input": [helper.make_node("Relu", ["nothing"], ["y"])],
    "a second input": [helper.make_node("Add", ["x", "nothing"], ["y"])],
    "a weight": [helper.make_node("Conv", ["x", "nothing"], ["y"])],
    "of a chain": [helper.make_node("Relu", ["nothing"], ["a"]), helper.make_node("Relu", ["a"], ["y"])],
}


@pytest.mark.parametrize("nodes", DANGLING.values(), ids=DANGLING)
def test_a_reference_to_nothing_is_refused(tmp_path: Path, nodes: list[onnx.NodeProto]) -> None:
    path = written(tmp_path, nodes)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: .* refers to nothing, a tensor that is not there"):
        counted(path)


@pytest.mark.parametrize("shape", [(2**63,), (2**32, 2**32), (-1, 3), (2,) * 65])
def test_shapes_that_cannot_be_are_refused(shape: tuple[int, ...]) -> None:
    program = Program("f", (), {"a": Value(shape, "float32", 32)}, ("a",), ("a",))
    with pytest.raises(InputError, match="tensor a is of no possible shape"):
        sound(program)


def test_large_shapes_and_empty_ones_are_legitimate() -> None:
    for shape in [(2**31, 2**31), (0, 2**62), (), None]:
        program = Program("f", (), {"a": Value(shape, "float32", 32)}, ("a",), ("a",))
        assert sound(program) == program


def test_a_state_that_is_set_costs_nothing() -> None:
    """Steps without an output: TFLite's variables, OpenVINO's Assign."""
    program = Program("f", (Step("Assign", "Assign", ("a",), ()),), {"a": Value((4,), "float32", 32)}, ("a",), ())
    found = cost.count(sound(program))
    assert (found.nodes[0].name, found.flops, found.peak_bytes) == ("Assign", 0, 16)


IR = """<net name="n" version="11"><layers>
<layer id="0" name="x" type="Parameter"><data shape="1,3,8,8" element_type="f32"/>
<output><port id="0" precision="FP32"><dim>1</dim><dim>3</dim><dim>8</dim><dim>8</dim></port></output></layer>
<layer id="1" name="r" type="ReLU"><input><port id="0"><dim>1</dim></port></input>
<output><port id="1" precision="FP32"><dim>1</dim><dim>3</dim><dim>8</dim><dim>8</dim></port></output></layer>
<layer id="2" name="y" type="Result"><input><port id="0"><dim>1</dim></port></input></layer>
</layers><edges><edge from-layer="{relu}" from-port="{port}" to-layer="1" to-port="0"/>
<edge from-layer="1" from-port="1" to-layer="2" to-port="0"/></edges></net>"""


def ir(folder: Path, text: str) -> Path:
    path = folder / "strange.xml"
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".bin").write_bytes(b"")
    return path


def test_an_ir_is_checked_alike(tmp_path: Path) -> None:
    assert len(counted(ir(tmp_path, IR.format(relu=0, port=0))).nodes) == 1
    with pytest.raises(InputError, match="in a circle, at r"):
        counted(ir(tmp_path, IR.format(relu=1, port=1)))
    with pytest.raises(InputError, match="refers to 7:0, a tensor that is not there"):
        counted(ir(tmp_path, IR.format(relu=7, port=0)))


@pytest.mark.parametrize("place", ["dim", "levels", "offset", "size"])
def test_numbers_of_5000_digits_in_an_ir_are_refused(tmp_path: Path, place: str) -> None:
    root = ET.fromstring(IR.format(relu=0, port=0))
    layer, number = root.findall("layers/layer")[1], "9" * 5000
    if place == "dim":
        layer.find("output/port/dim").text = number  # type: ignore[union-attr]
    elif place == "levels":
        layer.set("type", "FakeQuantize")
        ET.SubElement(layer, "data", levels=number)
    else:
        ET.SubElement(layer, "data", {"offset": "0", place: number})
    path = ir(tmp_path, ET.tostring(root, encoding="unicode"))
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: is damaged") as caught:
        counted(path)
    assert len(str(caught.value)) < 600
