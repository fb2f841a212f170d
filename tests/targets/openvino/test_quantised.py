"""Integers in OpenVINO's form: stored as int8, executed as int8, as good as the QDQ graph."""

from __future__ import annotations

import functools
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import openvino
import pytest
from mfs_edge.targets.openvino import OpenvinoTarget, engine, quantised

from mfs_edge.base.errors import LoweringError
from mfs_edge.graph import edit
from mfs_edge.quantize import execute, neighbours
from mfs_edge.target import EmitOptions
from tests.targets.integers import LOST_DB, Graphs, largest_sum, levels

TARGET = OpenvinoTarget()


@pytest.fixture(scope="module")
def written(integers: Graphs, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    folder = tmp_path_factory.mktemp("ir")

    @functools.cache
    def write(precision: str, io: str = "float32") -> Path:
        path = folder / f"{precision}-{io}.xml"
        TARGET.emit(integers(precision), path, EmitOptions(precision=precision, io=io))
        return path

    return write


def constants(path: Path) -> Counter[str]:
    """Elements of the constants, by type."""
    found: Counter[str] = Counter()
    for data in ET.parse(path).getroot().iterfind("layers/layer[@type='Const']/data"):
        found[data.get("element_type", "?")] += int(np.prod([int(n) for n in data.get("shape", "1").split(",") if n]))
    return found


@pytest.mark.parametrize("io", ["float32", "uint8"])
def test_it_is_as_good_as_the_graph(written: Callable[..., Path], integers: Graphs, io: str) -> None:
    ours = levels(TARGET.load(written("int8", io)), integers("fp32"))
    wanted = levels(execute.Session(integers("int8")), integers("fp32"))
    assert all(ours[name] > wanted[name] - LOST_DB for name in wanted)


def test_weights_are_stored_as_integers(written: Callable[..., Path], integers: Graphs) -> None:
    found, convs = constants(written("int8")), list(edit.of_type(integers("int8").graph, "Conv"))
    assert found["i8"] == sum(codes.size for conv in convs if (codes := stored(conv)) is not None)
    assert found["f32"] < 0.05 * found["i8"]  # biases and scales
    assert written("int8").with_suffix(".bin").stat().st_size < 560_000


def stored(conv: ir.Node) -> np.ndarray | None:
    source = edit.producer(conv.inputs[1], "DequantizeLinear")
    return None if source is None else edit.constant(source.inputs[0])


@pytest.mark.parametrize(("precision", "floats"), [("int8", False), ("int8-mixed", True)])
def test_convolutions_are_executed_as_integers(
    written: Callable[..., Path], integers: Graphs, precision: str, floats: bool
) -> None:
    convs = list(edit.of_type(integers(precision).graph, "Conv"))
    integer = sum(stored(conv) is not None for conv in convs)
    said = TARGET.load(written(precision)).execution()
    assert sum(int(count) for count in re.findall(r"(\d+) on [iu]8", said)) == integer  # which: the processor's choice
    assert floats == (f"{len(convs) - integer} on f32" in said) == (integer < len(convs))


def test_equal_graphs_make_equal_bytes(written: Callable[..., Path], integers: Graphs, tmp_path: Path) -> None:
    again = tmp_path / written("int8").name
    TARGET.emit(integers("int8"), again, EmitOptions(precision="int8"))
    assert again.read_bytes() == written("int8").read_bytes()


def test_another_form_of_the_pairs_is_refused(written: Callable[..., Path], integers: Graphs) -> None:
    network = engine.core().read_model(written("int8"))  # its pairs are joined already
    with pytest.raises(LoweringError, match="another OpenVINO version"):
        quantised.realise(network, integers("int8"))


def test_a_foreign_convolution_is_refused(written: Callable[..., Path], integers: Graphs) -> None:
    network = engine.core().read_model(written("fp32"))
    renamed = integers("fp32").clone()
    for node in edit.of_type(renamed.graph, "Conv"):
        node.name = f"other.{node.name}"
    with pytest.raises(LoweringError, match="none of the graph's"):
        quantised.realise(network, renamed)


def test_no_cpu_saturates_with_what_was_written(every_integers: tuple[ir.Model, str], tmp_path: Path) -> None:
    model, precision = every_integers
    path = tmp_path / f"{precision}.xml"
    TARGET.emit(model, path, EmitOptions(precision=precision))
    kernels = []
    for operation in engine.core().read_model(path).get_ordered_ops():
        if operation.get_type_name() == "Convolution":
            source = operation.input_value(1).get_node()
            while source.get_type_name() in ("Multiply", "Convert"):
                source = source.input_value(0).get_node()
            if source.get_element_type() == openvino.Type.i8:
                kernels.append(source.data)
    assert len(kernels) == sum(
        stored(conv) is not None and edit.group(conv) == 1 for conv in edit.of_type(model.graph, "Conv")
    )
    assert largest_sum(kernels) <= neighbours.LIMIT
