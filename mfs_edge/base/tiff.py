"""TIFF's first directory: read, given another entry, and what it says of the transparency."""

from __future__ import annotations

import struct
from typing import NamedTuple

BYTE, SHORT = 1, 3  # kinds of values
TRANSPARENCY = 338  # the tag "ExtraSamples", which says what colours mean beside an alpha
MULTIPLIED, STRAIGHT = 1, 2  # the colours are multiplied by alpha, or are not
_SIZES = {BYTE: 1, SHORT: 2}


class Directory(NamedTuple):
    """The first one of a file."""

    order: str  # "<" or ">"
    big: bool  # of more than 4 GB: numbers of 8 bytes
    entries: list[tuple[int, bytes]]  # by tag, as they are
    starts: list[int]  # of each entry, in the file
    following: bytes  # where the next directory lies

    @property
    def number(self) -> str:
        """The code of an address or a count."""
        return "Q" if self.big else "I"


def directory(data: bytes) -> Directory:
    """The first directory of ``data``.

    Raises:
        ValueError, struct.error: it is cut short.
    """
    order, big = ("<" if data[:2] == b"II" else ">"), data[2:4] in (b"+\0", b"\0+")
    start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    if start > len(data):
        raise ValueError("the directory is cut off")
    count = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
    at, step, address = (start + 8, 20, 8) if big else (start + 2, 12, 4)
    end = at + step * count
    if end + address > len(data):
        raise ValueError("the directory is cut short")
    starts = list(range(at, end, step))
    entries = [(struct.unpack_from(order + "H", data, n)[0], data[n : n + step]) for n in starts]
    return Directory(order, big, entries, starts, data[end : end + address])


def put(data: bytes, tag: int, kind: int, values: bytes) -> bytes:
    """``data`` with ``values``, of a kind and in the file's order of bytes, under ``tag``.

    The first directory is written anew behind everything, so that nothing else moves.
    """
    order, big, entries, _, following = found = directory(data)
    data += b"\0" * (-len(data) % 8)
    head = struct.pack(order + "HH" + found.number, tag, kind, len(values) // _SIZES[kind])
    room = 8 if big else 4  # for values in the entry itself
    apart = b"" if len(values) <= room else values + b"\0" * (-len(values) % 8)
    ours = head + (struct.pack(order + found.number, len(data)) if apart else values.ljust(room, b"\0"))
    every = sorted([*(entry for entry in entries if entry[0] != tag), (tag, ours)])
    written = struct.pack(order + ("Q" if big else "H"), len(every)) + b"".join(e for _, e in every) + following
    address = struct.pack(order + found.number, len(data) + len(apart))
    return data[:room] + address + data[room + len(address) :] + apart + written


def transparency(data: bytes) -> int:
    """What a file, which may be damaged, says of its colours: ``MULTIPLIED``, ``STRAIGHT``, or 0 for nothing."""
    return _transparency(data)[0]


def as_stored(data: bytes) -> bytes:
    """``data`` so that libtiff gives the colours as they are stored, where it would multiply them by alpha."""
    said, at, order = _transparency(data)
    if said != STRAIGHT:
        return data
    return data[:at] + struct.pack(order + "H", MULTIPLIED) + data[at + 2 :]  # "they are already"


def tell_straight(data: bytes) -> bytes:
    """``data``, of three colours and an alpha, saying that the colours are not multiplied by it."""
    return put(data, TRANSPARENCY, SHORT, struct.pack(directory(data).order + "H", STRAIGHT))


def _transparency(data: bytes) -> tuple[int, int, str]:
    """What is said, where it lies, and the order of bytes; of several values the first."""
    try:
        found = directory(data)
    except (ValueError, struct.error):
        return 0, 0, "<"
    for (tag, entry), start in zip(found.entries, found.starts, strict=True):
        head = 12 if found.big else 8
        kind, count = struct.unpack_from(found.order + "H" + found.number, entry, 2)
        if tag == TRANSPARENCY and kind == SHORT and 0 < count <= (len(entry) - head) // 2:
            return struct.unpack_from(found.order + "H", entry, head)[0], start + head, found.order
    return 0, 0, found.order
