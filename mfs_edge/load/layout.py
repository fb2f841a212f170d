"""Identity arrays by their shape, never by their size: 25,088 values in another order are another face.

Dimensions of 1 (a batch of one, say) say nothing about the order and are dropped. Any other layout is
refused with the line that brings it into ours.
"""

from __future__ import annotations

from collections import Counter

from mfs_edge.networks import spec

Shape = tuple[int, ...]

EMBEDDING: Shape = (spec.EMBEDDING,)
FEATURE_MAP: Shape = spec.FEATURE_MAP
FLAT: Shape = (spec.EMBEDDING + spec.FEATURE_MAP[0] * spec.FEATURE_MAP[1] * spec.FEATURE_MAP[2],)


def essential(shape: Shape) -> Shape:
    """``shape`` without its dimensions of 1."""
    return tuple(n for n in shape if n != 1)


def advice(shape: Shape, wanted: Shape) -> str:
    """How to bring an array of ``shape`` into ``wanted``, as one clause; "" where nothing is known."""
    channels, side = FEATURE_MAP[0], FEATURE_MAP[1]
    core = essential(shape)
    squeeze = ".squeeze()" if core != shape else ""
    if core[1:] == wanted and core[0] > 1:
        return f"it holds {core[0]} identities, save one alone: array{squeeze}[0]"
    if wanted == FEATURE_MAP and core[1:] and Counter(core[1:]) == Counter(FEATURE_MAP) and core[0] > 1:
        return f"it holds {core[0]} identities in another layout, save one alone: array{squeeze}[0]"
    if wanted != FEATURE_MAP:
        return ""
    if core == (side, side, channels):
        return f"channels come first, transpose it: array{squeeze}.transpose(2, 0, 1)"
    if core == (side, channels, side):
        return f"channels come first, then rows, then columns, transpose it: array{squeeze}.transpose(1, 0, 2)"
    if core == (channels, side * side):
        return f"if rows come before columns in it, reshape it: array{squeeze}.reshape(512, 7, 7)"
    if core == (side * side, channels):
        return f"if rows come before columns in it, turn it: array{squeeze}.T.reshape(512, 7, 7)"
    if core == (channels * side * side,):
        return (
            f"its order cannot be told; if it was flattened from [512, 7, 7], write array{squeeze}.reshape(512, 7, 7)"
        )
    return ""
