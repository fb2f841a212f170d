"""``inspect --quant`` of a stranger's file: what is unusual is read, or named; none is called damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mfs_edge.about.inspection import inspect
from mfs_edge.base.errors import InputError


def constant(values: Any, kind: int, name: str) -> onnx.TensorProto:
    array = np.asarray(values)
    return helper.make_tensor(name, kind, array.shape, array.ravel().tolist())


def dequantised(path: Path, *tensors: onnx.TensorProto, data: str = "", **attributes: int) -> Path:
    """A model of one DequantizeLinear of stored codes, scale and perhaps zero point."""
    node = helper.make_node("DequantizeLinear", [tensor.name for tensor in tensors], ["y"], **attributes)
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(tensors[0].dims))]
    graph = helper.make_graph([node], "g", [], made, list(tensors))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    external = {"save_as_external_data": True, "location": data, "size_threshold": 0} if data else {}
    onnx.save_model(model, path, **external)
    return path


def row(path: Path) -> dict[str, Any]:
    found = inspect(path, quant=True)
    (only,) = found.tables["quantised tensors"]
    assert str(found.facts["alone"]).startswith("unknown: ")
    return only


INT4, UINT4, INT8, FLOAT = TensorProto.INT4, TensorProto.UINT4, TensorProto.INT8, TensorProto.FLOAT
CASES: dict[str, tuple[tuple[Any, int], tuple[Any, int], tuple[Any, int] | None, dict[str, int], tuple[Any, ...]]] = {
    "int4": (([[-8, 7, 1]], INT4), (0.5, FLOAT), None, {}, ("int4", -4.0, 3.5)),
    "int4, zero point": (([[-8, 7, 1]], INT4), (0.5, FLOAT), (-2, INT4), {}, ("int4", -3.0, 4.5)),
    "uint4": (([0, 15], UINT4), (1.0, FLOAT), (8, UINT4), {}, ("uint4", -8.0, 7.0)),
    "int16": (([-300, 300], TensorProto.INT16), (1.0, FLOAT), None, {}, ("int16", -300.0, 300.0)),
    "uint16": (([0, 60000], TensorProto.UINT16), (1.0, FLOAT), None, {}, ("uint16", 0.0, 60000.0)),
    "half scale": (([-2, 3], INT8), (0.5, TensorProto.FLOAT16), None, {}, ("int8", -1.0, 1.5)),
    "bfloat16 scale": (([-2, 3], INT8), (0.5, TensorProto.BFLOAT16), None, {}, ("int8", -1.0, 1.5)),
    "second axis": (([[0, 1, 2], [3, 4, 5]], INT8), ([1, 2, 3], FLOAT), None, {"axis": 1}, ("int8", 0.0, 15.0)),
    "second axis by default": (([[0, 1, 2], [3, 4, 5]], INT8), ([1, 2, 3], FLOAT), None, {}, ("int8", 0.0, 15.0)),
    "last axis": (([[0, 1, 2], [3, 4, 5]], INT8), ([1, 2, 3], FLOAT), None, {"axis": -1}, ("int8", 0.0, 15.0)),
    "own zero points": (([[1, 2], [3, 5]], INT8), ([1, 2], FLOAT), ([1, 4], INT8), {"axis": 0}, ("int8", -2.0, 2.0)),
    "blocks": (
        ([[1, 2, 3, 4, 5]], INT8), ([[1, 10, 100]], FLOAT), None, {"axis": 1, "block_size": 2}, ("int8", 1.0, 500.0),
    ),
    "blocks of int4": (
        ([[1], [2], [-3]], INT4), ([[1], [10]], FLOAT), None, {"axis": 0, "block_size": 2}, ("int4", -30.0, 2.0),
    ),
    "nothing": ((np.zeros((0, 3)), INT8), (0.5, FLOAT), None, {}, ("int8", 0.0, 0.0)),
    "int32": (([-70000, 3], TensorProto.INT32), (0.5, FLOAT), None, {}, ("int32", -35000.0, 1.5)),
}  # fmt: skip


@pytest.mark.parametrize("data", ["", "model.onnx.data", "deep/w"])
@pytest.mark.parametrize("name", list(CASES))
def test_unusual_constants_are_read(tmp_path: Path, name: str, data: str) -> None:
    """Inside of the file as it was made, and, as raw bytes, in a file beside it."""
    codes, scale, zero, attributes, (dtype, low, high) = CASES[name]
    given = [constant(*part, name) for part, name in ((codes, "w"), (scale, "s"), (zero, "z")) if part is not None]
    if data:
        (tmp_path / data).parent.mkdir(exist_ok=True)
        given = [numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name) for tensor in given]
    found = row(dequantised(tmp_path / "x.onnx", *given, data=data, **attributes))
    assert (found["type"], found["low"], found["high"]) == (dtype, low, high)


def test_activations_of_four_bits(tmp_path: Path) -> None:
    node = helper.make_node("DequantizeLinear", ["x", "s", "z"], ["y"])
    ends = [helper.make_tensor_value_info(name, kind, [2]) for name, kind in (("x", UINT4), ("y", FLOAT))]
    stored = [constant(0.5, FLOAT, "s"), constant(3, UINT4, "z")]
    model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:], stored))
    onnx.save(model, tmp_path / "x.onnx")
    found = row(tmp_path / "x.onnx")
    assert (found["type"], found["low"], found["high"], found["zero point"]) == ("uint4", -1.5, 6.0, 3)


@pytest.mark.parametrize("kind", ["FLOAT8E4M3FN", "FLOAT8E5M2"])
def test_eight_bit_floats_are_named(tmp_path: Path, kind: str) -> None:
    codes = helper.make_tensor("w", getattr(TensorProto, kind), [2], b"\0\0", raw=True)
    path = dequantised(tmp_path / "x.onnx", codes, constant(0.5, FLOAT, "s"))
    with pytest.raises(InputError, match=rf"made of {kind.lower()}, whose values are not read; inspect it without"):
        inspect(path, quant=True)
    assert inspect(path).kind == "artefact"


def test_values_that_the_file_beside_does_not_hold_are_damage(tmp_path: Path) -> None:
    given = [numpy_helper.from_array(np.arange(6, dtype=np.int8), "w"), numpy_helper.from_array(np.float32(1), "s")]
    path = dequantised(tmp_path / "x.onnx", *given, data="w.data")
    (tmp_path / "w.data").write_bytes(b"\0")
    with pytest.raises(InputError, match="is damaged"):
        inspect(path, quant=True)
