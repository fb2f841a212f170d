"""What a picture file is and how large its picture would be, from its first bytes: nothing is decoded.

A suffix says nothing: pictures come as ``.jfif``, in capitals, or without any.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

HEAD = 64  # bytes that tell a format

_MAGIC: tuple[tuple[bytes, int, str], ...] = (  # bytes, where, format
    (b"\x89PNG\r\n\x1a\n", 0, "PNG"),
    (b"\xff\xd8\xff", 0, "JPEG"),
    (b"WEBP", 8, "WebP"),
    (b"GIF87a", 0, "GIF"),
    (b"GIF89a", 0, "GIF"),
    (b"II*\0", 0, "TIFF"),
    (b"MM\0*", 0, "TIFF"),
    (b"II+\0", 0, "TIFF"),  # of more than 4 GB
    (b"MM\0+", 0, "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", 0, "JPEG 2000"),
    (b"\xff\x4f\xff\x51", 0, "JPEG 2000"),
    (b"#?RADIANCE", 0, "Radiance HDR"),
    (b"#?RGBE", 0, "Radiance HDR"),
    (b"\x59\xa6\x6a\x95", 0, "Sun raster"),
)
UNREADABLE = {"HEIC", "Photoshop", "JPEG XL"}  # pictures, but OpenCV has no decoder for them


def kind(head: bytes) -> str | None:
    """The format of a file that begins with ``head`` (``HEAD`` bytes are enough); None if it is no picture."""
    for magic, at, name in _MAGIC:
        if head[at : at + len(magic)] == magic:
            return name
    if head[4:8] == b"ftyp":
        brands = {head[at : at + 4] for at in range(8, len(head), 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIC" if brands & {b"heic", b"heix", b"hevc", b"mif1"} else None
    if head[:2] == b"BM" and head[14:18] in _BMP_HEADERS:
        return "BMP"
    if re.match(rb"P([1-6][\s#]|7\n)", head):
        return "Netpbm"
    if head[:4] == b"8BPS":
        return "Photoshop"
    return "JPEG XL" if head[:2] == b"\xff\x0a" or head[4:8] == b"JXL " else None


_BMP_HEADERS = {struct.pack("<I", size) for size in (12, 16, 40, 52, 56, 64, 108, 124)}


def pixels(encoded: bytes, name: str) -> tuple[int, int] | None:
    """Width and height that the header of a picture of format ``name`` declares.

    Where a file says it several times (a canvas and a frame, say), the largest counts: a
    decoder may believe either. None: the header is damaged.
    """
    try:
        sizes = _SIZES[name](encoded)
    except (struct.error, IndexError, ValueError, OverflowError):  # the last: an offset that no address can hold
        return None
    whole = [(width, height) for width, height in sizes if width > 0 and height > 0]
    return max(whole, key=lambda size: size[0] * size[1]) if whole else None


Sizes = list[tuple[int, int]]


def _png(data: bytes) -> Sizes:
    return [struct.unpack_from(">II", data, 16)]


@dataclass(frozen=True)
class JpegFrame:
    """What a JPEG's frame header declares."""

    width: int
    height: int
    unit: tuple[int, int]  # pixels, height and width of what is coded at a time


def jpeg_frame(data: bytes) -> JpegFrame | None:
    """The first frame header, found from segment to segment as a decoder does; None if there is none."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at += 1  # a decoder passes over what lies between segments
            continue
        marker = data[at + 1]
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in (0xD9, 0xDA):
            return None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return jpeg_size(data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")])
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def jpeg_size(body: bytes) -> JpegFrame | None:
    """What the body of a frame header declares; None if it is cut off."""
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        return None
    _, height, width, components = struct.unpack_from(">BHHB", body)
    sampling = [body[7 + 3 * number] for number in range(components)]
    if components == 1:  # coded block by block, whatever it says
        return JpegFrame(width, height, (8, 8))
    tall, wide = max((s & 15 for s in sampling), default=1), max((s >> 4 for s in sampling), default=1)
    return JpegFrame(width, height, (8 * tall, 8 * wide))


def _jpeg(data: bytes) -> Sizes:
    frame = jpeg_frame(data)
    return [(frame.width, frame.height)] if frame else []


def riff(data: bytes) -> list[tuple[bytes, int, int]]:
    """A RIFF file's chunks: name, start and length of the body."""
    chunks, at = [], 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        chunks.append((data[at : at + 4], at + 8, length))
        at += 8 + length + length % 2
    return chunks


def _webp(data: bytes) -> Sizes:
    sizes = []
    for name, at, _ in riff(data):
        if name == b"VP8X":
            sizes.append(tuple(1 + int.from_bytes(data[at + k : at + k + 3], "little") for k in (4, 7)))
        elif name == b"ANMF":
            sizes.append(tuple(1 + int.from_bytes(data[at + k : at + k + 3], "little") for k in (6, 9)))
        elif name == b"VP8 ":
            sizes.append(tuple(side & 0x3FFF for side in struct.unpack_from("<HH", data, at + 6)))
        elif name == b"VP8L":
            bits = struct.unpack_from("<I", data, at + 1)[0]
            sizes.append((1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)))
    return sizes  # type: ignore[return-value]  # each of the tuples is a pair


def _gif(data: bytes) -> Sizes:
    return [struct.unpack_from("<HH", data, 6)]


def _bmp(data: bytes) -> Sizes:
    if data[14:18] == struct.pack("<I", 12):
        return [struct.unpack_from("<HH", data, 18)]
    width, height = struct.unpack_from("<ii", data, 18)
    return [(width, abs(height))]


def _tiff(data: bytes) -> Sizes:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    start: int = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    count: int = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
    step, at = (20, start + 8) if big else (12, start + 2)
    found: dict[int, int] = {}
    for entry in range(at, at + step * min(count, 4096), step):
        tag, form = struct.unpack_from(order + "HH", data, entry)
        if tag in (256, 257, 322, 323):  # width, height; those of a tile
            code = {3: "H", 4: "I", 16: "Q"}[form] if form in (3, 4, 16) else "I"
            found[tag] = struct.unpack_from(order + code, data, entry + (12 if big else 8))[0]
    return [(found.get(256, 0), found.get(257, 0)), (found.get(322, 0), found.get(323, 0))]


def _avif(data: bytes) -> Sizes:
    return [struct.unpack_from(">II", data, match.end() + 4) for match in re.finditer(rb"ispe", data[:1_000_000])]


def _jpeg2000(data: bytes) -> Sizes:
    head = data[:1_000_000]
    boxes = [struct.unpack_from(">II", head, match.end())[::-1] for match in re.finditer(rb"ihdr", head)]
    codestream = head.find(b"\xff\x4f\xff\x51")
    right, bottom, left, top = struct.unpack_from(">IIII", head, codestream + 8)
    return [*boxes, (right - left, bottom - top)]


def _netpbm(data: bytes) -> Sizes:
    head = data[:10_000]
    if head.startswith(b"P7"):
        fields = dict(re.findall(rb"(WIDTH|HEIGHT)\s+(\d+)", head))
        return [(int(fields[b"WIDTH"]), int(fields[b"HEIGHT"]))] if len(fields) == 2 else []
    numbers = re.sub(rb"#[^\n]*\n", b" ", head[2:]).split(maxsplit=2)
    return [(int(numbers[0]), int(numbers[1]))]


def _radiance(data: bytes) -> Sizes:
    found = re.search(rb"\n[-+]([XY]) (\d+) [-+][XY] (\d+)\s", data[:100_000])
    return [(int(found[3]), int(found[2]))] if found else []


def _sun(data: bytes) -> Sizes:
    return [struct.unpack_from(">II", data, 4)]


_SIZES: dict[str, Callable[[bytes], Sizes]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "WebP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "TIFF": _tiff,
    "AVIF": _avif,
    "JPEG 2000": _jpeg2000,
    "Netpbm": _netpbm,
    "Radiance HDR": _radiance,
    "Sun raster": _sun,
}
SIZED = frozenset(_SIZES)  # formats of which :func:`pixels` knows
