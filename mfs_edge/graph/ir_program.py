"""A model of ours as the program description that files are read into."""

from __future__ import annotations

import math

import onnx_ir as ir

from mfs_edge.base.errors import InputError
from mfs_edge.program import Program, Step, Value


def program(model: ir.Model) -> Program:
    """Describe ``model``, which is left as it is; shapes are inferred where it came without them.

    Raises:
        InputError: a tensor has no type.
    """
    graph = _with_shapes(model).graph
    values = {str(value.name): _value(value) for value in graph.inputs}
    values |= {str(name): _value(value, constant=True) for name, value in graph.initializers.items()}
    values |= {str(value.name): _value(value) for node in graph for value in node.outputs}
    return Program(
        format=f"ONNX, opset {graph.opset_imports.get('', '?')}",
        steps=tuple(_step(node, values) for node in graph),
        values=values,
        inputs=tuple(str(value.name) for value in graph.inputs),
        outputs=tuple(str(value.name) for value in graph.outputs),
    )


def _with_shapes(model: ir.Model) -> ir.Model:
    if all(value.shape is not None for node in model.graph for value in node.outputs):
        return model
    from onnx_ir.passes.common import ShapeInferencePass

    return ShapeInferencePass()(model.clone()).model


def _value(value: ir.Value, *, constant: bool = False) -> Value:
    sizes = value.shape
    fixed = tuple(size for size in sizes or () if isinstance(size, int))
    shape = fixed if sizes is not None and len(fixed) == len(sizes) else None
    if value.dtype is None:
        raise InputError(f"tensor {value.name} has no type; the file is damaged, write it again")
    return Value(shape, str(value.dtype).lower(), value.dtype.bitwidth, constant)


def _step(node: ir.Node, values: dict[str, Value]) -> Step:
    inputs = tuple(str(value.name) if value is not None else "" for value in node.inputs)
    weight = values.get(inputs[1]) if node.op_type == "Conv" else None
    return Step(
        own=node.op_type,
        kind=node.op_type,
        inputs=inputs,
        outputs=tuple(str(value.name) for value in node.outputs),
        name=str(node.name),
        multiplies=math.prod(weight.known[1:]) if weight is not None else 0,
    )
