"""The embedded demo: weights trained on drawn faces, and the faces.

The public MobileFaceSwap weights may not be redistributed. These have the same
architecture and keys, were trained by distillation on procedurally drawn faces, and swap
such faces visibly but softly. They know nothing about photographs.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from mfs_edge.base import images

FACES = Path(__file__).parent / "data" / "faces"
IDENTITIES = 8
TARGETS = 64  # 0..31 to look at and hold out, 32..63 to calibrate
WARNING = (
    "these are the embedded demo weights: trained on drawn faces, not for photographs; give your own with --checkpoint"
)


@functools.cache
def _face(name: str) -> np.ndarray:
    return images.read_rgb(FACES / name)


def identity_picture(number: int) -> np.ndarray:
    """The picture that identity ``number`` (0..7) is taken from, uint8 [224, 224, 3] RGB."""
    return _face(f"identity_{number}.png")


def target(number: int) -> np.ndarray:
    """Drawn face crop ``number`` (0..63), uint8 [224, 224, 3] RGB."""
    return _face(f"target_{number:02}.png")


def answers() -> list[tuple[int, int]]:
    """The (identity, target) pairs for which the teacher's answer is known."""
    stems = (path.stem.split("_") for path in sorted(FACES.glob("answer_*.png")))
    return [(int(identity), int(number)) for _, identity, number in stems]


def answer(identity: int, number: int) -> np.ndarray:
    """The teacher's answer for one of the pairs of :func:`answers`, uint8 [224, 224, 3] RGB."""
    return _face(f"answer_{identity}_{number:02}.png")
