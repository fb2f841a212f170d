"""EXIF goes with the picture, but neither its turn nor the preview of the face that was there."""

from __future__ import annotations

import struct

import pytest

from mfs_edge.swap import exif

PREVIEW = b"\xff\xd8the face that was\xff\xd9"


def block(order: str = "<", *, preview: bool = True, prefix: bytes = b"") -> bytes:
    """Orientation 6, a maker, the size in a directory of its own, and a preview."""
    entries = struct.Struct(order + "HHII")
    short = (lambda value: value) if order == "<" else (lambda value: value << 16)
    first = [(0x010F, 2, 4, 0x616263), (0x0112, 3, 1, short(6)), (0x8769, 4, 1, 50)]
    sub = [(0xA002, 4, 1, 120), (0xA003, 3, 1, short(80))]
    second = [(0x0201, 4, 1, 200), (0x0202, 4, 1, len(PREVIEW))]

    def directory(rows: list[tuple[int, int, int, int]], after: int) -> bytes:
        packed = b"".join(entries.pack(*row) for row in rows)
        return struct.pack(order + "H", len(rows)) + packed + struct.pack(order + "I", after)

    data = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    data = (data + directory(first, 90 if preview else 0)).ljust(50, b"\0")
    data = (data + directory(sub, 0)).ljust(90, b"\0")
    data = (data + directory(second, 0)).ljust(200, b"\0") + PREVIEW + b"after"
    return prefix + data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("prefix", [b"", exif.PREFIX])
def test_it_is_upright_and_of_the_new_size_without_a_preview(order: str, prefix: bytes) -> None:
    before = block(order)
    after = exif.upright(block(order, prefix=prefix), 80, 120)
    found = exif._Exif(after)
    assert {tag: found.value(entry) for tag, entry in found.entries(8) if tag == 0x0112} == {0x0112: 1}
    assert {tag: found.value(entry) for tag, entry in found.entries(50)} == {0xA002: 80, 0xA003: 120}
    assert found.unpack("I", found.after(8)) == (0,)
    assert len(after) == len(before)
    assert b"the face" not in after
    assert after.endswith(b"after")
    assert after[10:22] == before[10:22], "the maker"


def test_without_a_preview_little_changes() -> None:
    before = block(preview=False)
    after = exif.upright(before, 120, 80)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1  # the orientation


@pytest.mark.parametrize("cut", [0, 3, 8, 9, 20, 30, 60, 100])
def test_what_is_cut_off_is_dropped(cut: int) -> None:
    assert exif.upright(block()[:cut], 80, 120) == b""


def test_nonsense_is_dropped() -> None:
    assert exif.upright(b"II\x2b\0" + b"\0" * 40, 1, 1) == b""
    assert exif.upright(b"II*\0\x08\0\0\0\xff\xff" + b"\0" * 40, 1, 1) == b""
    strips = bytearray(block())
    strips[92:94] = struct.pack("<H", 0x0111)  # an uncompressed preview, somewhere
    assert exif.upright(bytes(strips), 1, 1) == b""
