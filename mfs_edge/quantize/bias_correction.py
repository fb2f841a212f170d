"""Bias correction: quantised channels keep their means.

Rounding a conv's weights and inputs shifts the mean of its outputs; the shift is measured and
taken off its bias (Nagel et al., ICCV 2019, section 4.2). Layer by layer in graph order, each
with the inputs it will really get, everything before it corrected already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.graph.session import Session
from mfs_edge.quantize import layout as layouts
from mfs_edge.quantize.calibration import evenly
from mfs_edge.quantize.weights import Codes

if TYPE_CHECKING:
    from mfs_edge.quantize.draft import Draft

# Pictures. On 16, biases fit how those few round: runtimes that break ties differently came out up
# to 0.3 dB apart on others; on 32, less than 0.1.
CORRECTED_ON = 32
Frames = list[np.ndarray]  # one array per picture


def step(draft: Draft) -> Draft:
    """With biases corrected."""
    cases = [(person, i) for person in range(len(draft.people.weights)) for i in range(len(draft.shown))]
    return replace(draft, codes=correct(draft, cases, evenly(len(cases), CORRECTED_ON)))


def correct(draft: Draft, cases: Sequence[tuple[int, int]], chosen: Sequence[int]) -> dict[str, Codes]:
    """The codes of ``draft`` with other biases.

    Args:
        draft: float, with samples, layout, grids and codes.
        cases: numbers of identities and of the pictures that they are shown, in the order of the samples' means.
        chosen: numbers of cases to correct on; their pictures are in memory at once, with all tensors that
            are still needed.
    """
    walk = _Walk(draft, [cases[i] for i in chosen])
    corrected = {}
    for node in draft.model.graph:
        if str(node.name) in draft.codes and node.name in draft.layout.integer:
            mean = draft.samples[str(node.outputs[0].name)].means[chosen].mean(axis=0)
            corrected[str(node.name)] = walk.conv(node, draft.codes[str(node.name)], mean)
        else:
            walk.other(node)
        walk.forget(node)
    return {**draft.codes, **corrected}


class _Walk:
    """The quantised graph, one node after another, over all cases at once."""

    def __init__(self, draft: Draft, cases: Sequence[tuple[int, int]]) -> None:
        self.layout, self.grids = draft.layout, draft.grids
        self.draft, self.persons = draft, [person for person, _ in cases]
        self.values: dict[ir.Value, Frames] = {}
        self.last = {value: node for node in draft.model.graph for value in layouts.operands(node)}
        self._keep(draft.model.graph.inputs[0], [np.asarray(draft.shown[i]) for _, i in cases])

    def conv(self, node: ir.Node, codes: Codes, mean: np.ndarray) -> Codes:
        """``codes`` with the bias that gives the outputs of ``node`` this ``mean``, [O]."""
        bias = edit.conv_bias(node)
        plain = _Runner(node, [codes.real().astype(np.float32), bias.astype(np.float32)])
        frames = self.values[layouts.operands(node)[0]]
        weights = self._weights(node)
        outputs = [plain(frame, weight=weight) for frame, weight in zip(frames, weights, strict=True)]
        shift = mean - np.mean([output.mean(axis=(0, 2, 3), dtype=np.float64) for output in outputs], axis=0)
        self._keep(node.outputs[0], [output + shift[:, None, None].astype(np.float32) for output in outputs])
        return codes.with_bias(bias + shift)

    def other(self, node: ir.Node) -> None:
        constants = [array for array in map(edit.constant, node.inputs) if array is not None]
        runner = _Runner(node, constants)
        operands = [self.values[value] for value in layouts.operands(node)]
        found = zip(zip(*operands, strict=True), self._weights(node), strict=True)
        self._keep(node.outputs[0], [runner(*frames, weight=weight) for frames, weight in found])

    def _weights(self, node: ir.Node) -> list[np.ndarray | None]:
        """Each case's own weight of a conv, as it will be stored; None where it is the graph's."""
        part = self.draft.parts.get(str(node.name))
        if part is None:
            return [None] * len(self.persons)
        own = [part.stands_for(weights[part.name]).astype(np.float32) for weights in self.draft.people.weights]
        return [own[person] for person in self.persons]

    def forget(self, node: ir.Node) -> None:
        for value in layouts.operands(node):
            if self.last[value] is node:
                self.values.pop(value, None)

    def _keep(self, value: ir.Value, frames: Frames) -> None:
        group = self.layout.group.get(str(value.name))
        self.values[value] = frames if group is None else [self.grids[group].rounded(frame) for frame in frames]


class _Runner:
    """One node in a session of its own; its constants are fed like its operands."""

    def __init__(self, node: ir.Node, constants: Sequence[np.ndarray]) -> None:
        self.constants = list(constants)
        operands = layouts.operands(node)
        inputs = [ir.val(f"x{i}", dtype=ir.DataType.FLOAT, shape=value.shape) for i, value in enumerate(operands)]
        fixed = [ir.val(f"c{i}", dtype=ir.DataType.from_numpy(a.dtype), shape=a.shape) for i, a in enumerate(constants)]
        supply = iter(fixed)
        arguments = iter(inputs)
        wired = [
            None if value is None else next(arguments) if edit.constant(value) is None else next(supply)
            for value in node.inputs
        ]
        wired += list(supply)  # a bias that the node lacks
        single = ir.node(node.op_type, wired, dict(node.attributes), outputs=[ir.val("y", dtype=ir.DataType.FLOAT)])
        graph = ir.Graph([*inputs, *fixed], single.outputs, nodes=[single], opset_imports={"": 17}, name="node")
        self.session = Session(ir.Model(graph, ir_version=8))

    def __call__(self, *frames: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
        """Its output for operands of any shape; with another ``weight`` than its own, perhaps."""
        feeds = {f"x{i}": frame for i, frame in enumerate(frames)}
        feeds |= {f"c{i}": constant for i, constant in enumerate(self.constants)}
        if weight is not None:
            feeds["c0"] = weight
        return self.session.run(feeds)["y"]
