"""Pictures to what a file takes, and what it gives back to pictures.

It stands alone (numpy, Python 3.9): it travels to a device beside the runner and an engine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NAMES = {3: "swapped", 1: "mask"}  # by channels, for outputs that a format calls otherwise
PEAK = np.float32(255)


def as_taken(image: np.ndarray, shape: tuple[Any, ...], dtype: str) -> np.ndarray:
    """A picture as an input of this shape and type takes it.

    Args:
        image: float32 [1, 3, S, S], RGB in 0..1.
        shape: [1, 3, S, S] or [1, S, S, 3].
        dtype: a float type for 0..1, or an integer one for 0..255.

    Raises:
        ValueError: the input takes another size, or no picture.
    """
    last = len(shape) == 4 and shape[3] == 3
    pixels = np.asarray(image, np.float32).transpose(0, 2, 3, 1) if last else np.asarray(image, np.float32)
    if pixels.shape != tuple(shape):
        size = shape[2] if len(shape) == 4 else "?"
        raise ValueError(f"the image is {list(image.shape)}; this file takes [1, 3, {size}, {size}]")
    if np.issubdtype(np.dtype(dtype), np.integer):
        pixels = np.rint(np.clip(pixels, 0, 1) * PEAK)
    return np.ascontiguousarray(pixels, dtype)


def as_told(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs as real values, by name: "swapped" [1, 3, S, S] and "mask" [1, 1, S, S], float32 in 0..1.

    Args:
        outputs: of a file: [1, C, S, S] or [1, S, S, C], float in 0..1 or uint8.

    Raises:
        ValueError: they are not those of a face swap.
    """
    told = {}
    for name, value in outputs.items():
        if value.ndim != 4 or not {value.shape[1], value.shape[3]} & set(NAMES):
            raise ValueError(f"an output is {list(value.shape)}; a face swap gives 3 channels, its mask 1")
        planes = value if value.shape[1] in NAMES else value.transpose(0, 3, 1, 2)
        real = np.array(planes, np.float32, order="C")
        known = name if name in NAMES.values() else NAMES[planes.shape[1]]
        told[known] = real / PEAK if value.dtype == np.uint8 else real
    if set(told) != set(NAMES.values()):
        raise ValueError(f"it gives {' and '.join(told) or 'nothing'}, not a swapped picture and its mask")
    return told
