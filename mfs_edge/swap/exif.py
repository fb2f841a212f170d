"""A picture's EXIF for the picture that is made of it: upright, and without the preview of the old one.

The preview that cameras put into EXIF shows the face that was swapped away. It is blanked, with the entries
that lead to it; everything else stays byte for byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

PREFIX = b"Exif\0\0"
_ORIENTATION, _SUB, _WIDTH, _HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003
_PREVIEW_AT, _PREVIEW_BYTES = 0x0201, 0x0202
_SHORT, _LONG = 3, 4
_MOST_ENTRIES = 1000


class _Exif:
    """TIFF's directories in a block of bytes, changed in place."""

    def __init__(self, block: bytes) -> None:
        self.data = bytearray(block)
        self.order = {b"II": "<", b"MM": ">"}[block[:2]]
        (magic,) = self.unpack("H", 2)
        if magic != 42:
            raise ValueError("no TIFF header")

    def unpack(self, form: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + form, self.data, at)

    def entries(self, at: int) -> Iterator[tuple[int, int]]:
        """Tag, and where its 12 bytes begin."""
        (count,) = self.unpack("H", at)
        if count > _MOST_ENTRIES:
            raise ValueError("absurdly many entries")
        for number in range(count):
            begin = at + 2 + 12 * number
            yield self.unpack("H", begin)[0], begin

    def value(self, entry: int) -> int:
        """Of one SHORT or LONG."""
        (kind,) = self.unpack("H", entry + 2)
        return self.unpack("H" if kind == _SHORT else "I", entry + 8)[0]

    def put(self, entry: int, value: int) -> None:
        (kind,) = self.unpack("H", entry + 2)
        struct.pack_into(self.order + ("H" if kind == _SHORT else "I"), self.data, entry + 8, value)

    def after(self, at: int) -> int:
        """Where the offset of the next directory stands."""
        (count,) = self.unpack("H", at)
        return at + 2 + 12 * count


def upright(block: bytes, width: int, height: int) -> bytes:
    """EXIF that fits the picture after its rotation; empty if ``block`` is damaged.

    Args:
        block: a TIFF header and what follows, with or without ``Exif\\0\\0`` before.
        width: of the upright picture, in pixels.
        height: likewise.
    """
    try:
        found = _Exif(block.removeprefix(PREFIX))
        (first,) = found.unpack("I", 4)
        sub = 0
        for tag, entry in found.entries(first):
            if tag == _ORIENTATION:
                found.put(entry, 1)
            elif tag == _SUB:
                sub = found.value(entry)
        if sub:
            _resize(found, sub, width, height)
        _without_preview(found, first)
    except (struct.error, ValueError, KeyError):
        return b""
    return bytes(found.data)


def _resize(found: _Exif, sub: int, width: int, height: int) -> None:
    for tag, entry in found.entries(sub):
        if tag in (_WIDTH, _HEIGHT):
            found.put(entry, width if tag == _WIDTH else height)


def _without_preview(found: _Exif, first: int) -> None:
    """Blank the second directory, the picture that it leads to, and the way there."""
    link = found.after(first)
    (second,) = found.unpack("I", link)
    if not second:
        return
    places = dict(found.entries(second))
    if _PREVIEW_AT in places and _PREVIEW_BYTES in places:
        at, length = found.value(places[_PREVIEW_AT]), found.value(places[_PREVIEW_BYTES])
        end = min(at + length, len(found.data))
        found.data[at:end] = bytes(max(0, end - at))
    elif places:  # uncompressed, in strips that lie anywhere: what cannot be blanked is not kept
        raise ValueError("a preview in strips")
    end = min(found.after(second) + 4, len(found.data))
    found.data[second:end] = bytes(end - second)
    struct.pack_into("I", found.data, link, 0)
