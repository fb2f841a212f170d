"""Numbers as files store them that numpy has no type for: several to a byte, and bfloat16."""

from __future__ import annotations

import re

import numpy as np

_SMALL = re.compile(r"(u?)int([24])")  # as ONNX and TFLite pack them: the first number in the lowest bits


class Unread(Exception):
    """A type whose values are not read here; the text is its name."""


def reach(dtype: str) -> tuple[int, int]:
    """The least and the largest number of an integer type, such as "int4"; raises Unread for others."""
    found = re.fullmatch(r"(u?)int(\d+)", dtype)
    if not found:
        raise Unread(dtype)
    unsigned, bits = bool(found[1]), int(found[2])
    return (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def size(count: int, dtype: str) -> int:
    """Bytes that ``count`` numbers take; raises Unread."""
    small = _SMALL.fullmatch(dtype)
    return -(-count * int(small[2]) // 8) if small else count * _stored(dtype).itemsize


def decode(raw: bytes | memoryview, dtype: str, count: int) -> np.ndarray:
    """[count] numbers: int8 or uint8 for those that are packed, float32 for bfloat16.

    Raises:
        Unread: numpy has no such type, and neither has this file.
        ValueError: the bytes are more or fewer.
    """
    if len(raw) != size(count, dtype):
        raise ValueError(f"{count} numbers of {dtype} in {len(raw)} bytes")
    found = np.frombuffer(raw, _stored(dtype))
    if small := _SMALL.fullmatch(dtype):
        bits = int(small[2])
        parts = (found[:, None] >> np.arange(0, 8, bits, dtype=np.uint8)) & (2**bits - 1)
        codes = parts.ravel()[:count]
        return codes if small[1] else (codes << (8 - bits)).view(np.int8) >> (8 - bits)
    if dtype == "bfloat16":
        return (found.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return found


def _stored(dtype: str) -> np.dtype:
    if _SMALL.fullmatch(dtype):
        return np.dtype(np.uint8)
    try:
        return np.dtype("<u2" if dtype == "bfloat16" else dtype).newbyteorder("<")
    except TypeError as error:
        raise Unread(dtype) from error
