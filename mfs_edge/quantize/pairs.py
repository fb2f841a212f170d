"""Leave out QuantizeLinear / DequantizeLinear pairs, where something is computed in float after all."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit


def drop(model: ir.Model, *, but: Collection[str] = ()) -> ir.Model:
    """A copy of a QDQ graph without the pairs of its activations, except those of the tensors named.

    Where a pair's grid cuts off at zero what a Conv computes it stands for a Relu, and one takes
    its place.
    """
    copy = model.clone()
    for quantise in edit.of_type(copy.graph, "QuantizeLinear"):
        restore = edit.only_consumer(quantise.outputs[0])
        source = quantise.inputs[0]
        if source is None or restore is None or restore.op_type != "DequantizeLinear" or tensor(restore) in but:
            continue
        if lowest(restore) == 0 and edit.producer(source, "Conv") is not None:
            edit.replace(copy.graph, restore, [edit.new_node(str(restore.name), "Relu", source)])
        elif restore.outputs[0].is_graph_output():
            edit.bypass(copy.graph, restore, source)
        else:
            restore.outputs[0].replace_all_uses_with(source)
            copy.graph.remove(restore, safe=True)
        copy.graph.remove(quantise, safe=True)
    return copy


def tensor(dequantise: ir.Node) -> str:
    """The tensor whose pair ends in ``dequantise``, as the float graph calls it."""
    return str(dequantise.name).removesuffix(".restored")


def lowest(dequantise: ir.Node) -> int:
    """The least number of steps that the codes of ``dequantise`` stand for."""
    zero = edit.constant(dequantise.inputs[2])
    return 0 if zero is None else int(np.iinfo(zero.dtype).min) - int(zero.ravel()[0])
