"""``inspect --quant`` of a stranger's file with integers of fewer bits than a byte, and with scales of blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from mfs_edge.targets.tflite import flatbuffer
from mfs_edge.targets.tflite.flatbuffer import Builder, Quantisation

from mfs_edge.about.inspection import inspect
from mfs_edge.base.errors import InputError


def written(
    path: Path, kind: str, raw: bytes, shape: tuple[int, ...], held: Quantisation, *, blocks: bool = False
) -> Path:
    """A stranger's model, one of whose constants is ``raw``: our writer's, with another table in its place."""
    builder = Builder()
    x = builder.tensor("x", "float32", (1, 2, 2, 1))
    builder.constant("w", np.zeros(shape, np.int8), quantisation=held)
    y = builder.tensor("y", "float32", (1, 2, 2, 1))
    builder.operator("LEAKY_RELU", [x], [y], "LeakyRelu", alpha=0.25)
    data = flatbuffer.serialise(builder, inputs={"x": x}, outputs={"y": y}, description="d", metadata={})
    model: Any = schema.ModelT.InitFromPackedBuf(data)
    model.metadata = []
    tensor = next(tensor for tensor in model.subgraphs[0].tensors if tensor.name == b"w")
    tensor.type = getattr(schema.TensorType, kind)
    model.buffers[tensor.buffer].data = np.frombuffer(raw, np.uint8)
    if blocks:
        tensor.quantization.scale = tensor.quantization.zeroPoint = None
        tensor.quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
        tensor.quantization.details = schema.BlockwiseQuantizationT()
    import flatbuffers

    packer = flatbuffers.Builder(1024)
    packer.Finish(model.Pack(packer), b"TFL3")
    path.write_bytes(bytes(packer.Output()))
    return path


ONE = Quantisation(np.array([0.5], np.float32), np.array([0]))
TWO = Quantisation(np.array([1, 10], np.float32), np.array([0, 0]), axis=1)
MOVED = Quantisation(np.array([0.5], np.float32), np.array([3]))
CASES = {
    "int4": ("INT4", b"\x18\x07", (3,), ONE, (-4.0, 3.5)),
    "int4, rows": ("INT4", b"\x21\x43", (2, 2), TWO, (1.0, 40.0)),
    "int4, one": ("INT4", b"\x0f", (1, 1), ONE, (-0.5, -0.5)),
    "uint4": ("UINT4", b"\xf0", (2,), MOVED, (-1.5, 6.0)),
    "int2": ("INT2", b"\xe4\x01", (5,), ONE, (-1.0, 0.5)),
    "int8, zero point": ("INT8", b"\x80\x7f", (2,), MOVED, (-65.5, 62.0)),
    "int16": ("INT16", np.array([-300, 300], "<i2").tobytes(), (2,), ONE, (-150.0, 150.0)),
}


@pytest.mark.parametrize("name", list(CASES))
def test_integers_of_any_width_are_read(tmp_path: Path, name: str) -> None:
    kind, raw, shape, held, reach = CASES[name]
    (row,) = inspect(written(tmp_path / "x.tflite", kind, raw, shape, held), quant=True).tables["quantised tensors"]
    assert (row["tensor"], row["type"], (row["low"], row["high"])) == ("w", kind.lower(), reach)


def test_scales_of_blocks_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tflite", "INT4", b"\x21\x43", (2, 2), ONE, blocks=True)
    with pytest.raises(InputError, match="w is scaled by blocks, which is not read; inspect it without --quant"):
        inspect(path, quant=True)
    assert inspect(path).kind == "artefact"


def test_bytes_that_do_not_fit_are_damage(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tflite", "INT4", b"\x21", (2, 2), ONE)
    with pytest.raises(InputError, match=r"damaged|not a sound"):
        inspect(path, quant=True)
