"""What a graph's tensors hold on real images; range balancing and quantisation read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import UsageError
from mfs_edge.graph.session import Session

FACES = range(32, 64)  # the demo's calibration share; 0..31 are held out
FEW_FACES = FACES[::8]  # powers of two, and sums over thousands of pixels, need no more
NOISE = 2


def image_size(model: ir.Model) -> int:
    """S of a graph whose input is [1, 3, S, S]."""
    shape = model.graph.inputs[0].shape
    if shape is None or not isinstance(shape[3], int):
        raise UsageError("the graph's image has no fixed size; build it with a size")
    return shape[3]


def drawn_faces(size: int, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """The demo's targets of these numbers: float32 [1, 3, size, size] in 0..1."""
    from mfs_edge import sample
    from mfs_edge.base import images

    for number in numbers:
        yield images.to_nchw(images.resize(sample.target(number), size))


def noise(size: int) -> Iterator[np.ndarray]:
    """Images that leave no channel idle, the same ones every time: float32 [1, 3, size, size] in 0..1."""
    rng = np.random.default_rng(0)
    for _ in range(NOISE):
        yield rng.random((1, 3, size, size), dtype=np.float32)


def observe(model: ir.Model, images: Iterable[np.ndarray], names: Iterable[str]) -> Iterator[dict[str, np.ndarray]]:
    """Run ``model`` as it is on one image after another; yields the named tensors' values.

    Only one image's values are alive at a time, however many images there are.

    Args:
        model: a float32 graph.
        images: float32 [1, 3, S, S] each, in 0..1.
        names: outputs of nodes.

    Raises:
        UsageError: an image has another shape or type than the graph takes.
    """
    wanted = list(dict.fromkeys(names))
    session = Session(model, as_written=True, observed=wanted)  # or tensors would be fused away
    for number, image in enumerate(images, start=1):
        if image.dtype != np.float32 or list(image.shape) != session.shape:
            found = f"{image.dtype} {list(image.shape)}"
            raise UsageError(
                f"calibration image {number} is {found}, not float32 {session.shape}; resize and normalise it"
            )
        yield session.run({session.image: image}, wanted)


def channel_maxima(model: ir.Model, images: Iterable[np.ndarray], names: Iterable[str]) -> dict[str, np.ndarray]:
    """Largest absolute value per channel of the named [1, C, H, W] tensors: float64 [C] each.

    Raises:
        UsageError: no image was given, or a tensor is not finite on one of them.
    """
    maxima: dict[str, np.ndarray] = {}
    for number, values in enumerate(observe(model, images, names), start=1):
        for name, value in values.items():
            largest = np.abs(value).max(axis=(0, 2, 3)).astype(np.float64)
            if not np.isfinite(largest).all():
                raise UsageError(f"tensor {name} is not finite on calibration image {number}; remove that image")
            maxima[name] = np.maximum(maxima.get(name, largest), largest)
    if not maxima:
        raise UsageError("there is no calibration image; give at least one, or none at all for the drawn faces")
    return maxima
