"""What rounding a convolution's weights does to it on average goes into its bias (Nagel et al., ICCV 2019).

It buys 2 dB of the golden network's picture in int8: most of what a fiftieth layer reads is the same
in every face.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import onnx_ir as ir

from mfs_edge import sample
from mfs_edge.base import extras, images
from mfs_edge.base.threads import one_thread
from mfs_edge.graph import edit, statistics

FACES = statistics.FACES  # of the drawn ones
NOISE = 1  # picture that leaves no channel idle


def pictures(side: int) -> Iterator[np.ndarray]:
    """Aligned crops to measure means on: float32 [1, 3, side, side] in 0..1."""
    yield from statistics.drawn_faces(side, FACES)
    for number in range(sample.IDENTITIES):
        yield images.to_nchw(images.resize(sample.identity_picture(number), side))
    yield next(statistics.noise(side))


def mean_inputs(model: ir.Model, crops: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """What each Conv of ``model`` but the first reads on average: name -> [1, C, H, W].

    Args:
        model: a float32 graph; left as it is.
        crops: float32 [1, 3, S, S] each, in 0..1.
    """
    source = model.graph.inputs[0].name
    read = {str(conv.inputs[0].name) for conv in edit.of_type(model.graph, "Conv") if conv.inputs[0] is not None}
    sums: dict[str, np.ndarray] = {}
    count = 0
    for values in statistics.observe(model, crops, read - {str(source)}):
        count += 1
        for name, value in values.items():
            sums[name] = sums[name] + value if name in sums else value
    return {name: total / count for name, total in sums.items()}


def shift(conv: ir.Node, lost: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """What ``conv`` gives less, on average, by weights that are ``lost`` [O, I, h, w]: float64 [O].

    Args:
        conv: for its strides and padding.
        lost: the exact weight less the rounded one.
        mean: what it reads on average, [1, I, H, W].
    """
    torch = extras.require("torch", "compile")
    steps, pads = edit.integers(conv, "strides", (1, 1)), edit.integers(conv, "pads", (0, 0, 0, 0))
    with one_thread():
        found = torch.nn.functional.conv2d(
            torch.from_numpy(mean), torch.from_numpy(lost), stride=steps, padding=pads[:2]
        )
    return found.double().mean(dim=(0, 2, 3)).numpy()
