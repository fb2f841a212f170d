"""Face Mesh: 468 points of a face whose place is roughly known, and the five points that we use.

The region that the network sees is MediaPipe's: turned so that the eyes are level, a square 1.5 times
as large as the face. A second look, at the region that the first one's points give, is more exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mfs_edge.base import extras
from mfs_edge.face import align, dense
from mfs_edge.face.network import Network

POINTS = 468
ROOM = 1.5  # the region's side, in sides of the face's box
HOLD = 0.02  # of the side, and in radians: regions that are nearer to each other serve the same
OUTER = (33, 263)  # outer corners of the eyes, the picture's left first: level in the region
# px of the 112 px template: what is added to the mesh's eyes, nose and mouth corners. Written by face_offsets.py.
OFFSETS = ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (2.15, 1.25), (-2.15, 1.25))


@dataclass(frozen=True)
class Region:
    """A square of a picture, turned with the face."""

    centre: np.ndarray  # float64 [2] pixels x, y
    side: float  # pixels
    angle: float  # radians, of the line through the eyes

    def matrix(self, size: int) -> np.ndarray:
        """The affine [2, 3] from the picture to a crop of ``size`` px."""
        scale = size / self.side
        c, s = scale * np.cos(self.angle), scale * np.sin(self.angle)
        linear = np.array([[c, s], [-s, c]])
        middle = (size - 1) / 2
        return np.column_stack([linear, middle - linear @ self.centre])

    def moved(self, by: np.ndarray) -> Region:
        """The same elsewhere: by [2] pixels."""
        return replace(self, centre=self.centre + by)

    def near(self, other: Region) -> bool:
        """Whether another is so little off that Face Mesh sees the same in both."""
        apart = float(np.hypot(*(self.centre - other.centre)))
        turned = abs((self.angle - other.angle + np.pi) % (2 * np.pi) - np.pi)
        return apart < HOLD * self.side and abs(other.side / self.side - 1) < 2 * HOLD and turned < 2 * HOLD


@dataclass(frozen=True)
class Meshed:
    """What Face Mesh sees in a region."""

    raw: np.ndarray  # float64 [5, 2] pixels x, y of the picture: the points as the mesh has them, left to right
    region: Region  # where to look again, here or in the next frame
    score: float  # 0..1, how sure it is a face

    @property
    def five(self) -> np.ndarray:
        """The five points where the template has them: float64 [5, 2] pixels."""
        return fitted(self.raw)


class FaceMesh:
    """The network, and what its numbers mean."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def __call__(self, image: np.ndarray, region: Region) -> Meshed:
        """The face in a region of ``image``, uint8 [H, W, 3] RGB; there may be none, see its score.

        The mean of what is seen, and of what is seen in a mirror: the network leans to a side, by 4 % of the
        eyes' distance at the nose.
        """
        size = self.network.side
        matrix = region.matrix(size)
        crop = _crop(image, matrix, size)
        points, flag = _outputs(self.network(crop))
        mirrored, other = _outputs(self.network(np.ascontiguousarray(crop[:, ::-1])))
        mirrored[:, 0] = size - 1 - mirrored[:, 0]

        def back(found: np.ndarray) -> np.ndarray:
            there: np.ndarray = np.linalg.solve(matrix[:, :2], (found - matrix[:, 2]).T).T
            return there

        raw = (dense.five(points) + dense.five(mirrored)[dense.MIRRORED]) / 2
        eyes = (points[list(OUTER)] + mirrored[list(OUTER[::-1])]) / 2
        box = np.array([(p.min(axis=0), p.max(axis=0)) for p in (points, mirrored)]).mean(axis=0)
        corners = np.array([(x, y) for x in box[:, 0] for y in box[:, 1]])
        return Meshed(back(raw), region_of(back(corners), back(eyes)), (_sigmoid(flag) + _sigmoid(other)) / 2)


def _crop(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """float32 [size, size, 3] in 0..1; beyond the picture its border goes on."""
    cv2 = extras.require("cv2", "swap")
    part, matrix = align.reduced(image, matrix, size)
    if part.size == 0:
        return np.zeros((size, size, 3), np.float32)
    warped = cv2.warpAffine(part, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    pixels: np.ndarray = warped.astype(np.float32) / 255
    return pixels


def _outputs(given: dict[str, np.ndarray]) -> tuple[np.ndarray, float]:
    """Points [468, 2] in pixels of the crop, and the face flag before its sigmoid."""
    by_size = {value.size: value.reshape(-1).astype(np.float64) for value in given.values()}
    # The network counts from the first pixel's edge, we from its middle.
    return by_size[3 * POINTS].reshape(POINTS, 3)[:, :2] - 0.5, float(by_size[1][0])


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(value, -100, 100))))


def region_of(points: np.ndarray, eyes: np.ndarray) -> Region:
    """The region of a face: its points [N, 2] (or corners of its box), and its eyes [2, 2], left to right."""
    across = eyes[1] - eyes[0]
    angle = float(np.arctan2(across[1], across[0]))
    c, s = np.cos(angle), np.sin(angle)
    turned = points @ np.array([[c, -s], [s, c]])
    low, high = turned.min(axis=0), turned.max(axis=0)
    centre = np.array([[c, -s], [s, c]]) @ ((low + high) / 2)
    return Region(centre, ROOM * max(float((high - low).max()), 1e-3), angle)


def fitted(raw: np.ndarray) -> np.ndarray:
    """The mesh's five points moved to where the template's detector sees them: float [5, 2] pixels to the same.

    Constant offsets in the frame of the face (turned and scaled as it is), from ``benchmarks/face_offsets.py``.
    """
    factor, _ = in_template(raw)
    if abs(factor) < 1e-9:
        return raw
    moved = np.array(OFFSETS) @ [1, 1j] / factor
    return raw + np.column_stack([moved.real, moved.imag])


def in_template(points: np.ndarray) -> tuple[complex, complex]:
    """Factor and summand that lay points [5, 2], as x + iy, on the 112 px template: turned, scaled, shifted."""
    given, wanted = points @ [1, 1j], align.TEMPLATE @ [1, 1j]
    middle = given.mean()
    spread = float((np.abs(given - middle) ** 2).sum())
    if spread < 1e-18:
        return 0j, wanted.mean()
    factor = complex(((given - middle).conj() @ wanted) / spread)
    return factor, complex(wanted.mean() - factor * middle)
