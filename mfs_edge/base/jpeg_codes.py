"""A baseline JPEG's codes, read from end to end as the standard defines them.

libjpeg passes over codes that no encoder writes: runs beyond the end of a block, means
beyond white and black. Damage produces them within a few blocks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mfs_edge.base import picture_formats

MOST_BYTES = 1 << 20  # 0.7 s; the seams of larger pictures are long, and told by them alone
_MEAN = 1024 * 1.1  # an eight-bit block's largest DC coefficient, and some for rounding
_LONGEST = 11  # bits of a difference of two of those

Codes = list[int]  # for each 16 bits: length of the code << 8 | its symbol; 0 where there is no such code


@dataclass
class _Tables:
    codes: dict[int, Codes] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)  # the quantiser's, of DC
    interval: int = 0


@dataclass(frozen=True)
class _Block:
    component: int
    dc: Codes
    ac: Codes
    most: int  # largest DC coefficient, quantised


def nonsense(encoded: bytes) -> str:
    """What in the codes makes no sense; nothing for a picture that is whole, or that is not baseline in one scan."""
    if len(encoded) > MOST_BYTES:
        return ""
    try:
        return _nonsense(encoded)
    except (IndexError, KeyError):  # what this reader does not know, the decoder may
        return ""


def _nonsense(encoded: bytes) -> str:
    tables, frame, at = _Tables(), b"", 2
    while True:
        marker, length = encoded[at + 1], int.from_bytes(encoded[at + 2 : at + 4], "big")
        if encoded[at] != 0xFF or length < 2:
            return ""
        body = encoded[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xDA:
            return _scan(encoded[at:], frame, body, tables)
        if marker in (0xC0, 0xC1):
            frame = body
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return ""
        else:
            _read_tables(marker, body, tables)


def _read_tables(marker: int, body: bytes, tables: _Tables) -> None:
    at = 0
    if marker == 0xDD:
        tables.interval = int.from_bytes(body[:2], "big")
    while marker == 0xDB and at < len(body):
        wide = 1 + (body[at] >> 4)
        tables.steps[body[at] & 15] = int.from_bytes(body[at + 1 : at + 1 + wide], "big")
        at += 1 + 64 * wide
    while marker == 0xC4 and at < len(body):
        counts = body[at + 1 : at + 17]
        symbols = body[at + 17 : at + 17 + sum(counts)]
        tables.codes[body[at]] = _codes(counts, symbols)
        at += 17 + len(symbols)


def _codes(counts: bytes, symbols: bytes) -> Codes:
    codes, first, number = [0] * 65536, 0, 0
    for length, count in enumerate(counts, start=1):
        width = 1 << (16 - length)
        for symbol in symbols[number : number + count]:
            codes[first : first + width] = [length << 8 | symbol] * width
            first += width
        number += count
    return codes


def _scan(data: bytes, frame: bytes, head: bytes, tables: _Tables) -> str:
    components = {frame[6 + 3 * i]: (frame[7 + 3 * i], frame[8 + 3 * i]) for i in range(frame[5])}
    if frame[0] != 8 or head[0] != len(components):
        return ""
    blocks = []
    for number in range(head[0]):
        sampling, quantiser = components[head[1 + 2 * number]]
        chosen = head[2 + 2 * number]
        step = max(tables.steps[quantiser], 1)
        block = _Block(number, tables.codes[chosen >> 4], tables.codes[16 | chosen & 15], int(_MEAN / step) + 1)
        blocks += [block] * ((sampling >> 4) * (sampling & 15) if head[0] > 1 else 1)
    size = picture_formats.jpeg_size(frame)
    if size is None:
        return ""
    tall, wide = size.unit
    left = -(-size.height // tall) * -(-size.width // wide)
    for part in _between_restarts(data):
        units = min(left, tables.interval or left)
        found = _units(part, units, blocks)
        if found or not left:
            return found
        left -= units
    return ""


def _between_restarts(data: bytes) -> list[bytes]:
    parts, start = [], 0
    for marker in re.finditer(rb"\xff+([^\x00\xff])", data):
        parts.append(data[start : marker.start()].replace(b"\xff\x00", b"\xff"))
        start = marker.end()
        if not 0xD0 <= marker[1][0] <= 0xD7:
            return parts
    return [*parts, data[start:].replace(b"\xff\x00", b"\xff")]


def _units(data: bytes, units: int, blocks: list[_Block]) -> str:  # noqa: C901  # one loop over millions of codes
    data, bits, at = data + b"\xff" * 16, 8 * len(data), 0
    means = [0] * len(blocks)
    number = int.from_bytes
    for _ in range(units):
        for block in blocks:
            byte = at >> 3
            word = number(data[byte : byte + 6], "big") << (at & 7) & 0xFFFFFFFFFFFF
            code = block.dc[word >> 32]
            size = code & 255
            if not code or size > _LONGEST:
                return "" if at > bits else "a code that does not exist"
            length = code >> 8
            if size:
                value = word >> (48 - length - size) & ((1 << size) - 1)
                means[block.component] += value if value >> (size - 1) else value - (1 << size) + 1
                if abs(means[block.component]) > block.most:
                    return "a block brighter than white or darker than black"
            at += length + size
            k, ac = 1, block.ac
            while k < 64:
                byte = at >> 3
                code = ac[number(data[byte : byte + 3], "big") >> (8 - (at & 7)) & 0xFFFF]
                if not code:
                    return "" if at > bits else "a code that does not exist"
                at += (code >> 8) + (code & 15)
                if code & 15:
                    k += 1 + (code >> 4 & 15)
                elif code >> 4 & 15 == 15:
                    k += 16
                else:
                    break
            if k > 64:
                return "a block of more than 64 values"
        if at > bits:
            return ""  # the decoder says so
    return ""
