"""The integer grid of one tensor: what int8 codes stand for.

real = (code - zero_point) * scale, codes -128..127 (ONNX QuantizeLinear; TFLite 8-bit
quantisation specification).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOWEST, HIGHEST = -128, 127
STEPS = HIGHEST - LOWEST
# Below this a scale's products with weight scales leave float32's normal numbers.
MIN_SCALE = 1e-9


@dataclass(frozen=True)
class Grid:
    """One scale and zero point, for a whole activation tensor."""

    scale: float
    zero_point: int

    @classmethod
    def over(cls, low: float, high: float) -> Grid:
        """The grid that spans ``low``..``high`` and holds 0 exactly (zero padding needs it).

        A range without extent (a dead tensor) gets a harmless scale.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / STEPS, MIN_SCALE)
        scale = float(np.float32(scale))
        return cls(scale, int(np.clip(np.rint(LOWEST - low / scale), LOWEST, HIGHEST)))

    @property
    def low(self) -> float:
        return (LOWEST - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        return (HIGHEST - self.zero_point) * self.scale

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """Real ``values`` of any shape as the grid holds them, in their own dtype."""
        codes = np.rint(values / self.scale)
        np.clip(codes, LOWEST - self.zero_point, HIGHEST - self.zero_point, out=codes)
        codes *= self.scale
        return codes


# The image's own bytes.
BYTES = Grid(float(np.float32(1 / 255)), LOWEST)
# TFLite fixes a sigmoid's int8 result (8-bit quantisation specification, LOGISTIC).
SIGMOID = Grid(1 / 256, LOWEST)
