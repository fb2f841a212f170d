"""BlazeFace, short range: the faces in one window of 128 px.

The network says of 896 anchors how likely a face is there, and where its box and six points lie from
it. Anchors and ranges are those of MediaPipe's ``face_detection_short_range`` (Bazarevsky
et al., "BlazeFace", 2019): strides 8 and three times 16, two anchors to a place for each, all of one size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfs_edge.face.network import Network

SIDE = 128  # px of a window
STRIDES = (8, 16, 16, 16)
PER_STRIDE = 2  # anchors to a place
CLAMP = 100.0  # of the scores before the sigmoid
SAME = 0.3  # boxes of which more is common are of one face
RIGHT_EYE, LEFT_EYE = 0, 1  # of the six points; the person's right is the picture's left


@dataclass(frozen=True)
class Found:
    """What may be faces, N of them, the likeliest first; pixels of the picture."""

    scores: np.ndarray  # float64 [N], 0..1
    boxes: np.ndarray  # float64 [N, 4]: left, top, right, bottom
    points: np.ndarray  # float64 [N, 6, 2]: eyes, nose, mouth, ears

    def __len__(self) -> int:
        return len(self.scores)

    def placed(self, offset: np.ndarray, scale: float) -> Found:
        """The same in a picture of which this was a part at ``offset`` [2], after scaling it by ``scale``.

        In a window, as in the network's training, the first pixel begins at 0; in a picture its middle is 0.
        """
        points = (self.points + offset) / scale - 0.5
        return Found(self.scores, (self.boxes + np.tile(offset, 2)) / scale - 0.5, points)


def anchors() -> np.ndarray:
    """float64 [896, 2]: the anchors' centres in a window, pixels x, y."""
    found = []
    for stride in dict.fromkeys(STRIDES):
        side = SIDE // stride
        y, x = np.mgrid[:side, :side]
        centres = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride
        found.append(np.repeat(centres, PER_STRIDE * STRIDES.count(stride), axis=0))
    return np.concatenate(found)


class BlazeFace:
    """The network with its anchors."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.anchors = anchors()

    def __call__(self, window: np.ndarray, threshold: float) -> Found:
        """The faces in a window, uint8 [128, 128, 3] RGB, that are at least ``threshold`` (0..1) likely."""
        given = self.network(window.astype(np.float32) / 127.5 - 1)
        raw = np.clip(given["classificators"].reshape(-1).astype(np.float64), -CLAMP, CLAMP)
        scores = 1 / (1 + np.exp(-raw))
        likely = scores >= threshold
        numbers = given["regressors"].reshape(len(scores), -1)[likely].astype(np.float64)
        at = self.anchors[likely]
        centre, half = at + numbers[:, :2], numbers[:, 2:4] / 2
        points = numbers[:, 4:].reshape(-1, 6, 2) + at[:, None]
        return _merged(Found(scores[likely], np.hstack([centre - half, centre + half]), points))


def _merged(found: Found) -> Found:
    """Weighted non-maximum suppression: what means the same face becomes its mean, weighted by scores."""
    left = np.argsort(-found.scores, kind="stable")
    scores, boxes, points = [], [], []
    while len(left):
        best = left[0]
        same = left[overlaps(found.boxes[best], found.boxes[left]) > SAME]
        if not len(same):  # a box of no area
            left = left[1:]
            continue
        weights = found.scores[same] / found.scores[same].sum()
        scores.append(found.scores[best])
        boxes.append(weights @ found.boxes[same])
        points.append(np.tensordot(weights, found.points[same], axes=1))
        left = left[~np.isin(left, same)]
    return Found(np.array(scores), np.array(boxes).reshape(-1, 4), np.array(points).reshape(-1, 6, 2))


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union, float64 [N] in 0..1, of a box [4] with others [N, 4]."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(np.maximum(others[:, 2:] - others[:, :2], 0), axis=1)
    total = np.prod(np.maximum(box[2:] - box[:2], 0)) + areas - common
    shares: np.ndarray = common / np.maximum(total, 1e-12)
    return shares
