"""A picture, and what a session makes of it at a few places: enough to tell whether another session is the same.

``verify`` records in the manifest what the session that it proved gave; ``bench`` compares what the
session that it timed gives, on whatever device. Nothing but numpy is needed for either.
"""

from __future__ import annotations

import base64

import numpy as np

from mfs_edge.base.fidelity import Outputs, psnr

PLACES = 256
_LEVELS = 65535  # an output is stored to 1/65535, 107 dB
_SKIN, _HAIR, _EYE, _MOUTH, _SCENE = (214, 170, 140), (60, 42, 30), (35, 40, 60), (170, 70, 80), (120, 140, 160)
NOISE = 24  # of 255: leaves no channel idle


def picture(size: int) -> np.ndarray:
    """A drawn face under noise, the same one every time.

    Returns:
        float32 [1, 3, size, size], RGB in 0..1; every value a whole byte / 255.
    """
    y, x = (np.arange(size) + 0.5)[:, None] / size, (np.arange(size) + 0.5)[None, :] / size
    drawn = np.broadcast_to(np.array(_SCENE, np.float64), (size, size, 3)).copy()
    ellipses = ((0.5, 0.42, 0.34, 0.40, _HAIR), (0.5, 0.52, 0.29, 0.38, _SKIN))
    features = ((0.38, 0.46, 0.06, 0.03, _EYE), (0.62, 0.46, 0.06, 0.03, _EYE), (0.5, 0.74, 0.11, 0.04, _MOUTH))
    for across, down, wide, high, colour in (*ellipses, *features):
        drawn[((x - across) / wide) ** 2 + ((y - down) / high) ** 2 < 1] = colour
    drawn += (x - y)[:, :, None] * 40  # light from one side
    drawn += np.random.default_rng(0).integers(-NOISE, NOISE + 1, drawn.shape)
    pixels = np.clip(np.rint(drawn), 0, 255).astype(np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]) / np.float32(255)


def places(size: int) -> np.ndarray:
    """Where outputs are compared: int [PLACES, 2], rows and columns, spread over the picture."""
    side = int(PLACES**0.5)
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1).reshape(-1, 2)
    inside = np.random.default_rng(1).random(cells.shape)
    return np.minimum(((cells + inside) * size / side).astype(int), size - 1)


def seen(outputs: Outputs) -> np.ndarray:
    """What is at the places: float [PLACES, 4], the swapped picture's RGB and the mask.

    Args:
        outputs: "swapped" [1, 3, S, S] and "mask" [1, 1, S, S].
    """
    rows, columns = places(outputs["mask"].shape[2]).T
    return np.concatenate([outputs[name][0, :, rows, columns] for name in ("swapped", "mask")], axis=1)


def encode(values: np.ndarray) -> str:
    """Float [PLACES, 4] in 0..1 as text, for the manifest."""
    levels = np.rint(np.clip(np.nan_to_num(values), 0, 1) * _LEVELS).astype("<u2")
    return base64.b64encode(levels.tobytes()).decode()


def decode(text: str) -> np.ndarray:
    """What :func:`encode` made text of: float [PLACES, 4].

    Raises:
        ValueError: it is something else.
    """
    levels = np.frombuffer(base64.b64decode(text, validate=True), "<u2")
    return levels.reshape(PLACES, 4) / np.float64(_LEVELS)


def levels(found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """PSNR in dB of "swapped" and "mask" between two of [PLACES, 4]."""
    difference = np.clip(found, 0, 1) - expected
    return {"swapped": psnr(difference[:, :3]), "mask": psnr(difference[:, 3:])}
