"""The image's offset in whole steps of its bytes.

image - 0.5 is 127.5 steps of 1/255 off, so that every pixel of it would lie half-way between
two codes. image - 128/255 has the image's own codes, moved by 128; the conv that reads it makes
up for the half step with its bias. Exact but at the border, which is then padded with half a
step more than 0.5: the nearest byte.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.quantize import people
from mfs_edge.quantize.grid import BYTES, HIGHEST, LOWEST, STEPS, Grid

if TYPE_CHECKING:
    from mfs_edge.quantize.draft import Draft


def step(draft: Draft) -> Draft:
    """:func:`in_whole_steps` of the draft's graph; of many identities, the mean's bias does for all."""
    average = {name: draft.people.mean(name) for name in draft.people.weights[0]}
    moved = in_whole_steps(people.with_weights(draft.model, average), draft.float_nodes)
    return replace(draft, model=people.with_weights(moved, draft.people.weights[0]))


def in_whole_steps(model: ir.Model, float_nodes: Collection[str] = ()) -> ir.Model:
    """A copy of ``model`` whose image is centred so; left alone where ``float_nodes`` do it."""
    copy = model.clone()
    for node in edit.of_type(copy.graph, "Sub"):
        offset, conv = offset_of(node, copy.graph), edit.only_consumer(node.outputs[0])
        if offset is None or conv is None or conv.op_type != "Conv" or {node.name, conv.name} & set(float_nodes):
            continue
        moved = float(_steps(offset) * BYTES.scale)
        bias = edit.conv_bias(conv) + edit.weight(conv, 1).sum(axis=(1, 2, 3)) * (moved - offset)
        edit.set_weight(copy.graph, conv, 2, bias)
        constant = np.array(moved, np.float32)
        node.replace_input_with(1, edit.new_initialiser(copy.graph, f"{node.name}.offset", constant))
    return copy


def offset_of(node: ir.Node, graph: ir.Graph) -> float | None:
    """What ``node`` subtracts from the image; None if it does something else."""
    constant = edit.constant(node.inputs[1]) if node.op_type == "Sub" else None
    if constant is None or constant.size != 1 or node.inputs[0] not in graph.inputs:
        return None
    return float(constant.item())


def grid_of(offset: float) -> Grid:
    """The bytes' grid, moved down by ``offset``."""
    return Grid(BYTES.scale, int(np.clip(BYTES.zero_point + _steps(offset), LOWEST, HIGHEST)))


def _steps(offset: float) -> int:
    """The nearest whole number of the bytes' steps."""
    return int(np.rint(offset * STEPS))
