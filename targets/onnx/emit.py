"""The graph as an ONNX file: fp16 storage, byte I/O, and the checker's word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mfs_edge.base import files
from mfs_edge.base.errors import LoweringError
from mfs_edge.target import SWAP, EmitOptions

if TYPE_CHECKING:
    import onnx_ir as ir

BYTE = np.float32(1 / 255)


def write(model: ir.Model, path: Path, options: EmitOptions) -> None:
    """Write a self-contained ``.onnx`` that ``onnx.checker`` accepts.

    Raises:
        LoweringError: fp16 asked for, and a weight is beyond float16.
        OutputError: the file cannot be written.
    """
    import onnx
    import onnx_ir as ir

    from mfs_edge.graph import passes

    if options.precision == "fp16" and options.task == SWAP:  # where it enrols, it is stored so already
        model = _halved(model)
    if options.io == "uint8":
        model = _with_bytes(model)
    model = passes.DropDead()(model.clone()).model  # onnxruntime warns of what nothing reads, on every load
    proto = ir.to_proto(model)
    onnx.helper.set_model_props(proto, dict(options.metadata))
    onnx.checker.check_model(proto)
    with files.atomic(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))


def _halved(model: ir.Model) -> ir.Model:
    """A copy whose Conv weights are stored in float16 and cast when the file is loaded."""
    import onnx_ir as ir

    from mfs_edge.graph import edit

    copy = model.clone()
    for conv in edit.of_type(copy.graph, "Conv"):
        stored = conv.inputs[1]
        array = edit.constant(stored)
        if stored is None or array is None or array.dtype != np.float32:
            continue
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        if not np.isfinite(half).all():
            raise LoweringError(
                f"Conv node {conv.name}: a weight of {np.abs(array).max():.3g} is beyond float16; compile with fp32"
            )
        small = edit.new_initialiser(copy.graph, f"{stored.name}.half", half)
        cast = edit.new_node(f"{conv.name}.weight", "Cast", small, to=ir.DataType.FLOAT.value)
        cast.outputs[0].dtype, cast.outputs[0].shape = ir.DataType.FLOAT, stored.shape
        copy.graph.insert_before(conv, cast)
        conv.replace_input_with(1, cast.outputs[0])
        if not stored.uses():
            del copy.graph.initializers[str(stored.name)]
    return copy


def _with_bytes(model: ir.Model) -> ir.Model:
    """A copy that takes and gives uint8 [1, S, S, C]: 0..255 stands for 0..1."""
    import onnx_ir as ir

    from mfs_edge.graph import edit

    copy = model.clone()
    graph = copy.graph
    scale = edit.new_initialiser(graph, "byte.scale", np.array(BYTE))
    zero = edit.new_initialiser(graph, "byte.zero", np.array(0, np.uint8))
    image = graph.inputs[0]
    frame = ir.val(str(image.name), dtype=ir.DataType.UINT8, shape=_channels_last(image))
    planar = edit.new_node("image.planar", "Transpose", frame, perm=[0, 3, 1, 2])
    real = edit.new_node("image.float", "DequantizeLinear", planar.outputs[0], scale, zero)
    real.outputs[0].type, real.outputs[0].shape = image.type, image.shape
    image.replace_all_uses_with(real.outputs[0])
    graph.insert_before(next(iter(graph)), [planar, real])
    graph.inputs[0] = frame
    for index, value in enumerate(graph.outputs):
        name = str(value.name)
        codes = edit.new_node(f"{name}.bytes", "QuantizeLinear", value, scale, zero)
        packed = edit.new_node(f"{name}.frame", "Transpose", codes.outputs[0], perm=[0, 2, 3, 1])
        graph.extend([codes, packed])
        output = packed.outputs[0]
        output.dtype, output.shape = ir.DataType.UINT8, _channels_last(value)
        value.name, output.name = f"{name}.float", name
        graph.outputs[index] = output
    return copy


def _channels_last(value: ir.Value) -> ir.Shape:
    import onnx_ir as ir

    if value.shape is None:
        raise LoweringError(f"tensor {value.name} has no inferred shape")
    n, c, h, w = value.shape
    return ir.Shape([n, h, w, c])
