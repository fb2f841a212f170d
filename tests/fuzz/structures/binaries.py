"""Protobuf messages, flatbuffers and PNG chunks, each written so that it is whole again."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import edits
from tests.fuzz.structures import texts

Field = tuple[int, int, Any]  # number, wire type, value
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 12


def as_protobuf(data: bytes) -> st.SearchStrategy[bytes]:
    """Fields changed, dropped, repeated and exchanged, at any depth; lengths around them stay right."""
    edit = st.tuples(st.randoms(use_true_random=False), st.sampled_from(edits.NUMBERS), st.sampled_from(texts.WORDS))
    return st.lists(edit, min_size=1, max_size=4).map(lambda drawn: _edited(data, drawn))


def _edited(data: bytes, drawn: list[tuple[Any, int, str]]) -> bytes:
    for random, number, word in drawn:
        data = _change(data, random, number, word, depth=0)
    return data


def _change(data: bytes, random: Any, number: int, word: str, *, depth: int) -> bytes:
    fields = parse(data)
    if not fields:
        return word.encode("utf-8", "replace")
    at = random.randrange(len(fields))
    key, wire, value = fields[at]
    what = random.random()
    if what < 0.65:
        fields[at] = (key, wire, _other(value, wire, random, number, word, depth))
    elif what < 0.75:
        del fields[at]
    elif what < 0.85:
        same = [field for field in fields if field[0] == key]
        fields[at] = random.choice(same)
    elif what < 0.95:
        fields.insert(random.randrange(len(fields)), fields[at])
    else:
        fields[at] = (random.randrange(1, 20), wire, value)
    return unparse(fields)


def _other(value: Any, wire: int, random: Any, number: int, word: str, depth: int) -> Any:
    if wire == _VARINT:
        return number
    if wire != _LENGTH:
        return struct.pack("<Q", number % 2**64)[: len(value)]
    if depth < _DEEPEST and parse(value) and random.random() < 0.9:
        return _change(value, random, number, word, depth=depth + 1)
    return word.encode("utf-8", "replace")


def parse(data: bytes) -> list[Field]:
    """The fields of a message in order; none where the bytes are no message."""
    fields: list[Field] = []
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            wire = tag & 7
            if wire == _VARINT:
                value, at = _varint(data, at)
                fields.append((tag >> 3, wire, value))
                continue
            size, at = _varint(data, at) if wire == _LENGTH else ({_FIXED64: 8, _FIXED32: 4}[wire], at)
            if at + size > len(data) or tag >> 3 == 0:
                return []
            fields.append((tag >> 3, wire, data[at : at + size]))
            at += size
    except (IndexError, KeyError):
        return []
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def unparse(fields: list[Field]) -> bytes:
    """The message of these fields."""
    parts = []
    for number, wire, value in fields:
        parts.append(_written(number << 3 | wire))
        if wire == _VARINT:
            parts.append(_written(value))
        else:
            parts.append((_written(len(value)) if wire == _LENGTH else b"") + value)
    return b"".join(parts)


def _written(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


@dataclass(frozen=True)
class Signed:
    """Flatbuffers: aligned words changed in place, and the digest that the file holds of itself made right again.

    Attributes:
        digest: where the hexadecimal SHA-256 of the file with that place blanked lies; None: it has none.
    """

    digest: Callable[[bytes], tuple[int, int] | None]

    def __call__(self, data: bytes) -> st.SearchStrategy[bytes]:
        place = self.digest(data)
        small = st.integers(-8, 64)
        offset = st.integers(-len(data), len(data))
        word = st.tuples(
            st.integers(0, len(data) // 2 - 2),
            st.one_of(small, offset, st.sampled_from(edits.NUMBERS)),
            st.sampled_from([1, 2, 4, 8]),
        )
        return st.lists(word, min_size=1, max_size=4).map(lambda drawn: self._edited(data, drawn, place))

    def _edited(self, data: bytes, drawn: list[tuple[int, int, int]], place: tuple[int, int] | None) -> bytes:
        found = bytearray(data)
        for half, number, width in drawn:
            at = half * 2 - half * 2 % width  # aligned as such a number is
            found[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")
        found = found[: len(data)]
        if place is not None:
            start, size = place
            found[start : start + size] = b"0" * size
            found[start : start + size] = hashlib.sha256(found).hexdigest().encode()
        return bytes(found)


def as_png(data: bytes) -> st.SearchStrategy[bytes]:
    """Chunks changed, dropped, repeated and moved, each with its own checksum made right."""
    chunks = _chunks(data)

    @st.composite
    def edited(draw: st.DrawFn) -> bytes:
        found = list(chunks)
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, max(0, len(found) - 1)))
            kind, body = found[at]
            what = draw(st.sampled_from(["body", "body", "drop", "twice", "kind"]))
            if what == "body":
                found[at] = (kind, draw(edits.blind(body or b"\0")))
            elif what == "kind":
                found[at] = (
                    draw(st.sampled_from([b"IDAT", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"eXIf", b"iCCP", b"IEND"])),
                    body,
                )
            elif what == "twice":
                found.insert(at, found[at])
            elif len(found) > 1:
                del found[at]
        return data[:8] + b"".join(_chunk(*chunk) for chunk in found)

    return edited()


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
