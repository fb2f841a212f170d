"""Five points from denser sets: which points' means are the eyes, the nose, the mouth's corners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

# Eyes as the mean of both corners and both lids: with closed corners alone it is off where somebody looks aside.
_MESH = ((33, 133, 159, 145), (362, 263, 386, 374), (4,), (61,), (291,))
INDICES: Mapping[int, Sequence[Sequence[int]]] = {  # by the number of points; left to right in the picture
    68: (range(36, 42), range(42, 48), (30,), (48,), (54,)),  # dlib, iBUG 300-W
    468: _MESH,  # MediaPipe Face Mesh
    478: _MESH,  # the same with irises
}
MIRRORED = [1, 0, 2, 4, 3]  # where the five are in a mirror


def five(points: np.ndarray) -> np.ndarray:
    """float64 [5, 2] of 68, 468 or 478 points [N, 2]."""
    return np.array([points[list(some)].mean(axis=0) for some in INDICES[len(points)]])
