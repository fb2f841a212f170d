"""Whether a file is all there, by the lengths that its container states: a decoder says nothing of a lost end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from mfs_edge.base.errors import InputError

_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"sidx", b"moof", b"pnot", b"uuid"}
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def require_whole(path: Path) -> None:
    """Nothing, where the file ends no earlier than it says, or its format does not say.

    Raises:
        InputError: it was cut off.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        if start[4:8] in _BOXES:
            stated = _boxes(file, size)
        elif start[:4] == _EBML:
            stated = _segment(file)
        elif start[:4] == b"RIFF":
            stated = 8 + int.from_bytes(start[4:8], "little")
        else:
            return
    if stated > size:
        raise InputError(
            f"{path}: is cut off: {size:,} of at least {stated:,} bytes are there; copy or download it again"
        )


def _boxes(file: BinaryIO, size: int) -> int:
    """Where the last of MP4's and QuickTime's boxes ends."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return at + 8
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:  # to the end, however far that is
            return size
        if length < 8 or not head[4:8].isascii():
            return size  # no box: what is behind the last one is the decoder's to judge
        at += length
    return at


def _segment(file: BinaryIO) -> int:
    """Where Matroska's segment ends; 0 for one whose length was not known when it was begun."""
    file.seek(4)
    header = _length(file) or 0
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    length = _length(file)
    return 0 if length is None else file.tell() + length


def _length(file: BinaryIO) -> int | None:
    """An EBML length, or None where all its bits are set, or none of the first byte's: it is not known."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    number = int.from_bytes(bytes([first[0] & ((1 << (7 - more)) - 1)]) + file.read(more), "big")
    return None if number == (1 << (7 * (more + 1))) - 1 else number
