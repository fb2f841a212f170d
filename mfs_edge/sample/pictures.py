"""The pictures that artefacts are verified on."""

from __future__ import annotations

import numpy as np


def exam_pictures(size: int) -> list[np.ndarray]:
    """The images an artefact is verified on: drawn faces, noise, a ramp and a flat grey.

    Returns:
        float32 [1, 3, size, size] each, in 0..1; every value a whole byte / 255, so that
        files that take camera bytes see the same pictures.
    """
    from mfs_edge import sample
    from mfs_edge.base import images

    faces = [images.resize(sample.target(i), size) for i in (0, 7, 21)]
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    gradient = np.stack(np.broadcast_arrays(ramp, ramp[:, None], ramp[::-1]), axis=-1)
    flat = np.full((size, size, 3), 128, np.uint8)
    return [images.to_nchw(picture) for picture in (*faces, noise, gradient, flat)]
