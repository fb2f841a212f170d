"""``enrol.weights``: a header with a checksum, and every constant as kernels read it."""

from __future__ import annotations

import hashlib
import struct

import numpy as np

from ..plan import rounded
from ..tiles import PANEL
from ..weights import ORDER
from .graph import STORED, Constant, describe
from .plan import Plan, Stored, inner

MAGIC, VERSION = b"ENRL", 1
HEADER = struct.Struct("<4sIIIQQQ24x")  # 64 bytes
BLOCK = 1 << 16  # bytes that are summed by themselves
LANES = 4
START, PRIME, MASK = 14695981039346656037, 1099511628211, 2**64 - 1


def network(plan: Plan) -> int:
    """What tells this layout from any other."""
    layout = repr((VERSION, describe(plan.graph), sorted(plan.constants.items())))
    return int.from_bytes(hashlib.sha256(layout.encode()).digest()[:8], "little")


def total(plan: Plan) -> int:
    """Bytes of the file."""
    return HEADER.size + plan.weights


def dumps(plan: Plan) -> bytes:
    """The file."""
    body = bytearray(plan.weights)
    for held in plan.constants.values():
        data = _formed(plan.graph.constants[held.name], held).tobytes()
        body[4 * held.offset : 4 * held.offset + len(data)] = data
    return HEADER.pack(MAGIC, VERSION, ORDER, HEADER.size, network(plan), len(body), checksum(body)) + body


def checksum(data: bytes | bytearray) -> int:
    """As ``enrol_sum`` in the C: each block of 64 KB by four lanes of FNV-1a, and their sums in turn.

    Blocks are independent of each other, so that numpy computes all at once.
    """
    whole = len(data) // BLOCK * BLOCK
    sums: list[int] = []
    for start, size, blocks in ((0, whole, whole // BLOCK), (whole, len(data) - whole, 1)):
        if size:
            words = np.frombuffer(data, "<u8", size // 8, start)
            sums += map(int, _block_sums(words.reshape(blocks, -1, LANES)))
    found = START
    for value in sums:
        found = _mixed(((found ^ value) * PRIME) & MASK)
    return found


def _mixed(value: int) -> int:
    return value ^ (value >> 29)


def _block_sums(words: np.ndarray) -> np.ndarray:
    """Of uint64 [blocks, steps, 4]: [blocks]."""
    state = np.array([[START + lane for lane in range(LANES)]], np.uint64).repeat(len(words), axis=0)
    for step in range(words.shape[1]):
        state = (state ^ words[:, step]) * np.uint64(PRIME)
        state ^= state >> np.uint64(29)
    found = np.zeros(len(words), np.uint64)
    for lane in range(LANES):
        found = found * np.uint64(31) + state[:, lane]
    return found


def _formed(constant: Constant, held: Stored) -> np.ndarray:
    if held.form == "scale":
        return _filled(constant.scales, rounded(len(constant.scales)))
    numbers = constant.numbers.astype(np.dtype(STORED[held.stored]).newbyteorder("<"), copy=False)
    if held.form == "taps":
        return numbers
    if held.form == "map":
        laid_out = numbers.transpose(0, 2, 3, 1)  # channels innermost
        return np.pad(laid_out, [(0, 0)] * 3 + [(0, rounded(laid_out.shape[3]) - laid_out.shape[3])])
    return _panels(numbers, held.form)


def _filled(array: np.ndarray, count: int) -> np.ndarray:
    return np.pad(array.astype("<f4"), (0, count - array.size))


def _panels(weight: np.ndarray, form: str) -> np.ndarray:
    """[O, I, h, w] -> [O / 16, numbers that an output reads, 16], filled up with zeros."""
    outputs = weight.shape[0]
    laid_out = weight.transpose(0, 2, 3, 1)
    rows = laid_out.reshape(outputs, weight.shape[2], -1) if form == "picture" else laid_out
    width = inner((outputs, *weight.shape[1:]), form)
    filled = np.zeros((rounded(outputs, PANEL), *rows.shape[1:-1], width), weight.dtype)
    filled[:outputs, ..., : rows.shape[-1]] = rows
    return np.ascontiguousarray(filled.reshape(len(filled) // PANEL, PANEL, -1).transpose(0, 2, 1))
