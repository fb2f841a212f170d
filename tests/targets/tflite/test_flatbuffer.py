"""The writer: alignment, sharing, versions, digest."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from mfs_edge.targets.tflite import flatbuffer, reader
from mfs_edge.targets.tflite.flatbuffer import Builder, Quantisation


def serialise(builder: Builder, inputs: dict[str, int], outputs: dict[str, int]) -> bytes:
    return flatbuffer.serialise(builder, inputs=inputs, outputs=outputs, description="d", metadata={"é": "ü"})


def leaky(weights: int) -> bytes:
    """A builder with ``weights`` constants of odd sizes."""
    builder = Builder()
    x = builder.tensor("x", "float32", (1, 2, 2, 1))
    for number in range(weights):
        builder.constant(f"w{number}", np.arange(number + 1, dtype=np.int8))
    y = builder.tensor("y", "float32", (1, 2, 2, 1))
    builder.operator("LEAKY_RELU", [x], [y], "LeakyRelu", alpha=0.25)
    return serialise(builder, {"x": x}, {"y": y})


def test_constants_start_at_multiples_of_sixteen() -> None:
    model = reader.read(leaky(20))
    starts = [tensor.content[0] for tensor in model.tensors if tensor.is_constant]
    assert len(starts) == 20
    assert all(start % flatbuffer.ALIGNMENT == 0 for start in starts)


def test_what_was_put_in_comes_out() -> None:
    data = leaky(3)
    model = reader.read(data)
    assert (model.version, model.description) == (3, "d")
    start, size = model.metadata["é"]
    assert data[start : start + size].decode() == "ü"
    assert [tensor.name for tensor in model.tensors] == ["x", "w0", "w1", "w2", "y"]
    assert (model.inputs, model.outputs) == ((0,), (4,))
    assert model.signatures == {"serving_default": ({"x": 0}, {"y": 4})}
    options = model.operators[0].options
    assert options is not None
    assert options.number(0, "f") == 0.25


def test_equal_constants_share_their_bytes() -> None:
    builder = Builder()
    a, b, c = (builder.constant(name, np.full(9, value, np.float32)) for name, value in (("a", 1), ("b", 1), ("c", 2)))
    tensors = builder.tensors
    assert tensors[a].buffer == tensors[b].buffer != tensors[c].buffer


def test_the_digest_is_of_the_file_with_zeros_in_its_place() -> None:
    data = leaky(1)
    start, size = reader.read(data).metadata[flatbuffer.DIGEST]
    blank = data[:start] + b"0" * size + data[start + size :]
    assert data[start : start + size].decode() == hashlib.sha256(blank).hexdigest()


VERSIONS = [
    ("CONV_2D", "float32", 1),
    ("CONV_2D", "int8", 3),
    ("DEPTHWISE_CONV_2D", "int8", 3),
    ("LEAKY_RELU", "int8", 1),
    ("RESIZE_BILINEAR", "float32", 1),
    ("RESIZE_BILINEAR", "int8", 2),
    ("CONCATENATION", "int8", 2),
    ("LOGISTIC", "int8", 2),
    ("ADD", "int8", 2),
    ("PAD", "int8", 2),
    ("QUANTIZE", "float32", 1),
    ("QUANTIZE", "int8", 1),
    ("DEQUANTIZE", "uint8", 1),
    ("DEQUANTIZE", "int8", 2),
    ("DEQUANTIZE", "float16", 3),
]


@pytest.mark.parametrize(("code", "dtype", "version"), VERSIONS)
def test_operators_carry_the_lowest_version_that_knows_their_types(code: str, dtype: str, version: int) -> None:
    builder = Builder()
    x, y = builder.tensor("x", dtype, (1,)), builder.tensor("y", dtype, (1,))
    builder.operator(code, [x], [y])
    assert builder.operators[0].version == version


@pytest.mark.parametrize(("scale", "version"), [(0.5, 3), (0.001, 2)])
def test_a_multiplication_that_amplifies_is_a_later_version(scale: float, version: int) -> None:
    builder = Builder()
    given = Quantisation.per_tensor(scale, 0)
    x, y = (builder.tensor(name, "int8", (1,), quantisation=given) for name in "xy")
    out = builder.tensor("out", "int8", (1,), quantisation=Quantisation.per_tensor(0.01, 0))
    builder.operator("MUL", [x, y], [out], "Mul")
    assert builder.operators[0].version == version


RUNTIMES = [
    (("LEAKY_RELU", "float32"), "1.13.1"),
    (("QUANTIZE", "float32"), "1.14.0"),
    (("ADD", "int8"), "1.14.0"),
    (("DEQUANTIZE", "float16"), "1.15.0"),
    (("DEPTH_TO_SPACE", "float32"), "2.1.0"),
    (("DEPTH_TO_SPACE", "int8"), "2.5.0"),
]


@pytest.mark.parametrize(("used", "oldest"), RUNTIMES)
def test_the_file_says_the_oldest_runtime_that_reads_it(used: tuple[str, str], oldest: str) -> None:
    code, dtype = used
    builder = Builder()
    x, y = builder.tensor("x", dtype, (1,)), builder.tensor("y", dtype, (1,))
    builder.operator(code, [x], [y])
    data = serialise(builder, {"x": x}, {"y": y})
    start, size = reader.read(data).metadata[flatbuffer.MIN_RUNTIME]
    assert data[start : start + size].decode() == oldest
