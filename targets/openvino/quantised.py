"""The integers of a QDQ graph, as OpenVINO stores and recognises them.

OpenVINO's reader spells each QuantizeLinear / DequantizeLinear pair out in five operators, and
folding constants turns int8 weights into float32 ones: such a file is as large as a float one,
and its convolutions run in float. What its CPU plugin executes on integers is the form that its
own tools write: one FakeQuantize per activation, and weights as an int8 constant with a
conversion and a product behind it ("low precision transformations" of OpenVINO's developer
guide).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mfs_edge.base.errors import LoweringError
from mfs_edge.graph import edit

if TYPE_CHECKING:
    import onnx_ir as ir

CONVOLUTIONS = ("Convolution", "GroupConvolution")
LEVELS = 256


def realise(network: Any, model: ir.Model) -> None:
    """Rewrite an ``openvino.Model``, constants folded, that was read from the QDQ graph ``model``.

    Raises:
        LoweringError: a pair or a weight is not of the form that :mod:`mfs_edge.quantize` writes.
    """
    stored = {str(node.name): node for node in model.graph if node.op_type == "Conv"}
    for operation in network.get_ordered_ops():
        if operation.get_type_name() in CONVOLUTIONS:
            _store_integers(operation, stored)
        elif operation.get_type_name() == "FakeQuantize":
            _join_pair(operation)
    network.validate_nodes_and_infer_types()


def _store_integers(convolution: Any, stored: dict[str, ir.Node]) -> None:
    """Replace a folded float weight by the int8 or float16 one that it was."""
    from openvino import opset13 as ops

    name = convolution.get_friendly_name().removesuffix("/WithoutBiases")  # where a bias follows
    if name not in stored:
        raise LoweringError(f"OpenVINO's convolution {name} is none of the graph's; use another OpenVINO version")
    shape = list(convolution.input_value(1).get_shape())
    cast = edit.producer(stored[name].inputs[1], "Cast")
    small = edit.constant(cast.inputs[0]) if cast is not None else None
    if cast is not None and small is not None:
        weight = ops.convert(ops.constant(small.reshape(shape)), "f32")
        weight.set_friendly_name(str(cast.name))
        convolution.input(1).replace_source_output(weight.output(0))
        return
    source = edit.producer(stored[name].inputs[1], "DequantizeLinear")
    codes = edit.constant(source.inputs[0]) if source is not None else None
    if source is None or codes is None:
        return  # a float convolution
    outputs = 2 if convolution.get_type_name() == "GroupConvolution" else 1  # [group, out, ...] or [out, ...]
    scale = edit.weight(source, 1).astype(np.float32).reshape(shape[:outputs] + [1] * (len(shape) - outputs))
    integers = ops.constant(codes.reshape(shape))
    weight = ops.multiply(ops.convert(integers, "f32"), ops.constant(scale))
    weight.set_friendly_name(str(source.name))
    convolution.input(1).replace_source_output(weight.output(0))


def _join_pair(quantise: Any) -> None:
    """FakeQuantize to int8 codes, and what makes them real again, as one FakeQuantize."""
    from openvino import opset13 as ops

    behind = list(_dequantising(quantise))
    if not behind or behind[-1].get_type_name() != "Multiply":
        raise LoweringError(
            f"{quantise.get_friendly_name()}: OpenVINO has read this quantisation in another form; "
            "use another OpenVINO version"
        )
    zero = sum(_number(step, 1) for step in behind if step.get_type_name() == "Subtract")
    scale = _number(behind[-1], 1)
    low, high = (ops.constant(np.float32((_number(quantise, index) - zero) * scale)) for index in (3, 4))
    limits = (quantise.input_value(1), quantise.input_value(2))
    joined = ops.fake_quantize(quantise.input_value(0), *limits, low, high, LEVELS)
    result, names = behind[-1].output(0), behind[-1].output(0).get_names()
    name = min(names, default=behind[-1].get_friendly_name())
    computed = quantise.input_value(0).get_node()
    if computed.get_friendly_name() == name:  # an output: older versions load no two layers of one name
        computed.set_friendly_name(f"{name}.real")
    joined.set_friendly_name(name)
    for reader in list(result.get_target_inputs()):
        reader.replace_source_output(joined.output(0))
    joined.output(0).set_names(names)


def _dequantising(quantise: Any) -> Iterator[Any]:
    """Convert, Convert, Subtract and Multiply behind a FakeQuantize, as far as each alone follows."""
    last = quantise
    while last.get_type_name() != "Multiply":
        readers = list(last.output(0).get_target_inputs())
        if len(readers) != 1:
            return
        last = readers[0].get_node()
        if last.get_type_name() == "Convert" or (
            last.get_type_name() in ("Subtract", "Multiply")
            and last.input_value(1).get_node().get_type_name() == "Constant"
        ):
            yield last
        else:
            return


def _number(operation: Any, index: int) -> float:
    """A scalar constant input."""
    return float(np.ravel(operation.input_value(index).get_node().data)[0])
