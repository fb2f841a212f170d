"""What quantisation did to pictures that it was not calibrated on: clipped values, and the worst one drawn."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from mfs_edge.base import images
from mfs_edge.base.fidelity import Outputs, Swapper
from mfs_edge.graph import edit, statistics
from mfs_edge.verify import sheet


def saturation(quantised: ir.Model, pictures: Iterable[np.ndarray]) -> dict[str, float]:
    """The share of each activation tensor's values beyond its grid.

    Args:
        quantised: a QDQ graph.
        pictures: float32 [1, 3, S, S] each.

    Returns:
        0..1 per tensor, under the name that it has in the float graph. Relu on integers is
        saturation: there, what it cuts off is not counted.
    """
    sources: dict[str, tuple[float, float]] = {}
    for node in quantised.graph:
        if node.op_type == "QuantizeLinear" and node.inputs[0] is not None and node.inputs[0].producer() is not None:
            scale, zero = (float(edit.weight(node, index)) for index in (1, 2))
            low = (-128 - zero - 0.5) * scale if zero > -128 else -np.inf
            sources[str(node.inputs[0].name)] = (low, (127 - zero + 0.5) * scale)
    beyond, total = dict.fromkeys(sources, 0), dict.fromkeys(sources, 0)
    for values in statistics.observe(quantised, pictures, sources):
        for name, value in values.items():
            low, high = sources[name]
            beyond[name] += int(np.count_nonzero((value < low) | (value > high)))
            total[name] += value.size
    return {name.removesuffix(".real"): beyond[name] / max(total[name], 1) for name in sources}


def draw_worst(runner: Swapper, picture: np.ndarray, wanted: Outputs, caption: str) -> np.ndarray:
    """The picture with reference, artefact and difference side by side: uint8 [H, W, 3] RGB.

    Args:
        runner: the artefact.
        picture: float32 [1, 3, S, S] in 0..1.
        wanted: what the reference makes of it.
        caption: one line below.
    """
    found = runner.run(picture)
    cells = [images.to_bytes(array) for array in (picture, wanted["swapped"], found["swapped"])]
    cells.append(sheet.difference(wanted["swapped"], found["swapped"]))
    columns = ("held-out picture", "reference", "artefact", f"difference x{sheet.GAIN}")
    return sheet.contact_sheet(columns, [[images.resize(cell, sheet.CELL) for cell in cells]], caption)
