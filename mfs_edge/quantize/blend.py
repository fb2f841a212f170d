"""The blend in a form that integers compute nearly exactly.

image + mask (face - image) needs a grid for a difference in -1..1 and for its product, both
nearly twice as coarse as the picture's own. (image - mask image) + mask face is the same, and
everything in it lies in 0..1, on the grid of the picture's bytes, where sums and differences
are exact: only the two products are rounded. One more operator.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from mfs_edge.graph import edit

HIDDEN, KEPT, COVERED = PARTS = ("blend.hidden", "blend.kept", "blend.covered")


def expand(model: ir.Model, float_nodes: Collection[str] = ()) -> ir.Model:
    """A copy of ``model`` with its blends multiplied out, but where ``float_nodes`` has part of one."""
    copy = model.clone()
    for add in edit.of_type(copy.graph, "Add"):
        found = _match(add)
        if found is not None and not {str(node.name) for node in (add, *found[-2:])} & set(float_nodes):
            _rewrite(copy.graph, add, *found)
    return copy


Match = tuple[ir.Value, ir.Value, ir.Value, ir.Node, ir.Node]


def _match(add: ir.Node) -> Match | None:
    """(image, mask, face, Mul, Sub) of image + (face - image) * mask, in any order."""
    for image, product in _both_ways(add):
        multiply = edit.producer(product, "Mul")
        if multiply is None or edit.only_consumer(product) is not add:
            continue
        for difference, mask in _both_ways(multiply):
            subtract = edit.producer(difference, "Sub")
            if subtract is not None and subtract.inputs[1] is image and edit.only_consumer(difference) is multiply:
                face = subtract.inputs[0]
                if face is not None:
                    return image, mask, face, multiply, subtract
    return None


def _both_ways(node: ir.Node) -> list[tuple[ir.Value, ir.Value]]:
    first, second = node.inputs
    return [] if first is None or second is None else [(first, second), (second, first)]


def _rewrite(
    graph: ir.Graph, add: ir.Node, image: ir.Value, mask: ir.Value, face: ir.Value, multiply: ir.Node, subtract: ir.Node
) -> None:
    hidden = edit.new_node(HIDDEN, "Mul", image, mask)
    kept = edit.new_node(KEPT, "Sub", image, hidden.outputs[0])
    covered = edit.new_node(COVERED, "Mul", face, mask)
    total = edit.new_node(str(add.name), "Add", kept.outputs[0], covered.outputs[0])
    for node in (hidden, kept, covered):
        node.outputs[0].type, node.outputs[0].shape = add.outputs[0].type, add.outputs[0].shape
    edit.replace(graph, add, [hidden, kept, covered, total])
    for node in (multiply, subtract):
        graph.remove(node, safe=True)
