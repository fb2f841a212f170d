"""XMP with IPTC's digital source type: the packet, what is in one, and its place in pictures and MP4 files.

No pixel is coded again: the packet is put between what is there. Whatever reads IPTC metadata (search engines,
picture agencies, phones) finds the source type there without knowing C2PA.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from mfs_edge.base import picture_formats, tiff
from mfs_edge.base.picture_damage import PNG_SIGNATURE
from mfs_edge.base.version import __version__
from mfs_edge.swap.claims import SOURCE_TYPE

_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_TYPE = f"{{{_IPTC}}}DigitalSourceType"
_PACKET = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{_IPTC}" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}" xmp:CreatorTool="mfs-edge {__version__}"/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
PACKET = _PACKET.encode()
LARGEST = 4 << 20  # bytes of a packet that is read

_JPEG_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_HEAD = b"XML:com.adobe.xmp\0"
_WEBP_FLAG, _WEBP_ALPHA = 0x04, 0x10
_TIFF_TAG = 700
UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # of the box in MP4 files
_CODED = {0xD9, 0xDA}  # JPEG: the end, and the beginning of what is coded


def source_type(packet: bytes | None) -> str:
    """IPTC's digital source type in a packet, which may be a stranger's; empty where there is none."""
    if packet is None or len(packet) > LARGEST or b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        return ""
    try:
        root = ElementTree.fromstring(packet.strip(b"\0 \r\n\t"))
    except (ElementTree.ParseError, ValueError, LookupError):  # of an encoding that nobody knows
        return ""
    for element in root.iter():
        if found := element.get(_TYPE) or (element.text if element.tag == _TYPE else None):
            return found.strip()
    return ""


def put(data: bytes, name: str) -> bytes:
    """A picture of format ``name`` with our packet in the place of any that it had."""
    return _WRITERS[name](data)


def get(data: bytes, name: str) -> bytes | None:
    """The packet of a picture of format ``name``, which may be damaged; None where there is none."""
    try:
        return _READERS[name](data) if name in _READERS else None
    except (struct.error, ValueError, IndexError, zlib.error, OverflowError):
        return None


# JPEG: an APP1 segment, behind JFIF's and EXIF's own.


def _segments(data: bytes) -> list[tuple[int, int, int]]:
    """Marker, first byte and end of each segment before what is coded."""
    found, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in _CODED:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((data[at + 1], at, end))
        at = end
    return found


def _put_jpeg(data: bytes) -> bytes:
    segments = _segments(data)
    coded = data[segments[-1][2] if segments else 2 :]
    bodies = [data[start:end] for _, start, end in segments]
    kept = [body for body in bodies if body[:2] != b"\xff\xe1" or not body[4:].startswith(_JPEG_HEAD)]
    first = next((n for n, body in enumerate(kept) if body[1] != 0xE0 and body[4:8] != b"Exif"), len(kept))
    body = _JPEG_HEAD + PACKET
    ours = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    return b"".join([data[:2], *kept[:first], ours, *kept[first:], coded])


def _get_jpeg(data: bytes) -> bytes | None:
    for marker, start, end in _segments(data):
        body = data[start + 4 : end]
        if marker == 0xE1 and body.startswith(_JPEG_HEAD):
            return body[len(_JPEG_HEAD) :]
    return None


# PNG: a chunk of international text, before the pixels.


def _chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """Name, first byte and end of each chunk."""
    found, at = [], len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], at, end))
        at = end
    return found


def _is_png_packet(data: bytes, name: bytes, start: int) -> bool:
    return name == b"iTXt" and data[start + 8 : start + 8 + len(_PNG_HEAD)] == _PNG_HEAD


def _put_png(data: bytes) -> bytes:
    body = b"iTXt" + _PNG_HEAD + b"\0\0\0\0" + PACKET  # not compressed, of no language
    ours = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    kept = [(name, data[start:end]) for name, start, end in _chunks(data) if not _is_png_packet(data, name, start)]
    return data[: len(PNG_SIGNATURE)] + kept[0][1] + ours + b"".join(chunk for _, chunk in kept[1:])


def _get_png(data: bytes) -> bytes | None:
    for name, start, end in _chunks(data):
        if _is_png_packet(data, name, start):
            body = data[start + 8 + len(_PNG_HEAD) : end - 4]
            _, _, text = body[2:].split(b"\0", 2)  # behind the language and the translated keyword
            return zlib.decompressobj().decompress(text, LARGEST) if body[0] else text
    return None


# WebP: a chunk behind the pixels, and a flag in the header, which simple files do not have.


def _put_webp(data: bytes) -> bytes:
    chunks = [(name, data[at : at + length]) for name, at, length in picture_formats.riff(data) if name != b"XMP "]
    if chunks[0][0] != b"VP8X":
        width, height = picture_formats.pixels(data, "WebP") or (0, 0)
        alpha = chunks[0][0] == b"VP8L" and chunks[0][1][4] & 0x10
        sides = b"".join((side - 1).to_bytes(3, "little") for side in (width, height))
        chunks.insert(0, (b"VP8X", bytes([_WEBP_ALPHA if alpha else 0, 0, 0, 0]) + sides))
    flags = chunks[0][1]
    chunks[0] = (b"VP8X", bytes([flags[0] | _WEBP_FLAG]) + flags[1:])
    every = b"".join(_riff_chunk(name, body) for name, body in [*chunks, (b"XMP ", PACKET)])
    return b"RIFF" + (4 + len(every)).to_bytes(4, "little") + b"WEBP" + every


def _riff_chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)


def _get_webp(data: bytes) -> bytes | None:
    return next((data[at : at + n] for name, at, n in picture_formats.riff(data) if name == b"XMP "), None)


# TIFF: an entry of the first directory, which is written anew behind everything.


def _put_tiff(data: bytes) -> bytes:
    return tiff.put(data, _TIFF_TAG, tiff.BYTE, PACKET)


def _get_tiff(data: bytes) -> bytes | None:
    found = tiff.directory(data)
    for tag, entry in found.entries:
        if tag == _TIFF_TAG:
            count, at = struct.unpack_from(found.order + 2 * found.number, entry, 4)
            return data[at : at + min(count, LARGEST)]
    return None


_WRITERS: dict[str, Callable[[bytes], bytes]] = {
    "JPEG": _put_jpeg,
    "PNG": _put_png,
    "WebP": _put_webp,
    "TIFF": _put_tiff,
}
_READERS: dict[str, Callable[[bytes], bytes | None]] = {
    "JPEG": _get_jpeg,
    "PNG": _get_png,
    "WebP": _get_webp,
    "TIFF": _get_tiff,
}


# MP4 and QuickTime: a box at the end, but before what only makes sense there.


def boxes(path: Path, most: int = 100_000) -> list[tuple[bytes, int, int]]:
    """Type, first byte and end of each box of the outermost level; a damaged file's as far as they make sense."""
    found: list[tuple[bytes, int, int]] = []
    at, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while at + 8 <= size and len(found) < most:
            file.seek(at)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            end = size if length == 0 else at + length
            if end > size or end < at + 8:
                break
            found.append((kind, at, end))
            at = end
    return found


def put_box(path: Path) -> bool:
    """Our packet into an MP4 or QuickTime file, in place, unless it is there already; whether it is there now."""
    if get_box(path) == PACKET:
        return True
    there = boxes(path)
    if not there or there[-1][2] != path.stat().st_size:
        return False  # no such file, or cut short
    kind, start, end = there[-1]
    body = UUID + PACKET
    ours = (len(body) + 8).to_bytes(4, "big") + b"uuid" + body
    with path.open("r+b") as file:
        file.seek(start)
        if file.read(4) == b"\0\0\0\0":  # "to the end of the file", which would swallow ours
            if end - start >= 1 << 32:
                return False
            file.seek(start)
            file.write((end - start).to_bytes(4, "big"))
        at = start if kind == b"mfra" else end  # that one is found from the end of a file of fragments
        file.seek(at)
        behind = file.read()
        file.seek(at)
        file.write(ours + behind)
    return True


def get_box(path: Path) -> bytes | None:
    """The packet of an MP4 or QuickTime file; None where there is none."""
    with path.open("rb") as file:
        for kind, start, end in boxes(path):
            if kind == b"uuid":
                file.seek(start + 8)
                if file.read(16) == UUID:
                    return file.read(min(end - start - 24, LARGEST))
    return None
