"""Tags in a Matroska or WebM file, put in without touching a packet.

A file is elements: an id, a length and a body. Tags are one element among those of the segment; its readers find it
by the list in the segment's head. So the old one is made void, the new one goes to the end, and the list says where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_SEGMENT, _HEAD, _VOID, _TAGS, _CLUSTER = 0x18538067, 0x114D9B74, 0xEC, 0x1254C367, 0x1F43B675
_SEEK, _SEEK_ID, _SEEK_AT = 0x4DBB, 0x53AB, 0x53AC
_TAG, _TARGETS, _TRACK, _SIMPLE, _NAME, _STRING = 0x7373, 0x63C0, 0x63C5, 0x67C8, 0x45A3, 0x4487
_LENGTH = 8  # bytes of a length as it is written here
_LARGEST = 16 << 20  # bytes of tags, or of what is before the first cluster
_MOST = 16  # elements of tags


@dataclass(frozen=True)
class _Element:
    kind: int
    start: int
    body: int  # its first byte
    end: int
    whole: bool = True  # its length is known


def put_tags(path: Path, told: Mapping[str, str]) -> bool:
    """Add ``told`` to the tags of the file, in place; whether its form allows it. Where not, it is as it was."""
    with path.open("r+b") as file:
        data = memoryview(file.read(_LARGEST))  # what is before the first cluster
        size = path.stat().st_size
        segment = next((e for e in _elements(data, 0, size) if e.kind == _SEGMENT), None)
        if segment is None or segment.body - segment.start != 4 + _LENGTH or segment.end != size:
            return False
        before = _before_clusters(data, segment)
        head = next((e for e in before if e.kind == _HEAD), None)
        listed = None if head is None else _listed(data, before, head, size - segment.body)
        if head is None or listed is None:
            return False
        kept = b""
        for start, part, tags in list(_found(file, data, segment)):
            kept += b"".join(
                bytes(part[e.start : e.end]) for e in _elements(part, tags.body, tags.end) if e.kind == _TAG
            )
            file.seek(start)
            file.write(_void(tags.end))
        fresh = _element(_TAGS, kept + _tag(told))
        file.seek(head.start)
        file.write(listed)
        file.seek(size)
        file.write(fresh)
        if segment.whole:
            file.seek(segment.start + 4)
            file.write(_length(size + len(fresh) - segment.body))
    return True


def get_tags(path: Path) -> dict[str, str]:
    """The tags that speak of the whole file, which may be a stranger's and damaged."""
    found: dict[str, str] = {}
    size = path.stat().st_size
    with path.open("rb") as file:
        data = memoryview(file.read(_LARGEST))
        segment = next((e for e in _elements(data, 0, size) if e.kind == _SEGMENT), None)
        if segment is None:
            return {}
        for _, part, tags in _found(file, data, segment):
            found |= _texts(part, tags)
    return found


def _found(file: BinaryIO, data: memoryview, segment: _Element) -> Iterator[tuple[int, memoryview, _Element]]:
    """Where each element of tags begins, its bytes, and what it is within them."""
    for at in _places(data, segment):
        file.seek(at)
        part = memoryview(file.read(_LARGEST))
        tags = next(_elements(part, 0, len(part)), None)
        if tags is not None and tags.kind == _TAGS:
            yield at, part, tags


def _places(data: memoryview, segment: _Element) -> list[int]:
    """Where the list in the segment's head says that tags are."""
    places = []
    for head in (e for e in _before_clusters(data, segment) if e.kind == _HEAD):
        for seek in _elements(data, head.body, head.end):
            held = {e.kind: bytes(data[e.body : e.end]) for e in _elements(data, seek.body, seek.end)}
            if held.get(_SEEK_ID) == _TAGS.to_bytes(4, "big") and len(held.get(_SEEK_AT, b"")) in range(1, 9):
                places.append(segment.body + int.from_bytes(held[_SEEK_AT], "big"))
    return list(dict.fromkeys(places))[:_MOST]


def _texts(data: memoryview, tags: _Element) -> dict[str, str]:
    found = {}
    for tag in (e for e in _elements(data, tags.body, tags.end) if e.kind == _TAG):
        targets = next((e for e in _elements(data, tag.body, tag.end) if e.kind == _TARGETS), None)
        if targets is not None and any(e.kind == _TRACK for e in _elements(data, targets.body, targets.end)):
            continue
        for simple in (e for e in _elements(data, tag.body, tag.end) if e.kind == _SIMPLE):
            held = {e.kind: bytes(data[e.body : e.end]) for e in _elements(data, simple.body, simple.end)}
            name, text = (held.get(kind, b"").decode("utf-8", "replace") for kind in (_NAME, _STRING))
            found[name] = text
    return found


def _elements(data: memoryview, at: int, end: int) -> Iterator[_Element]:
    """What lies side by side in ``data`` from ``at`` to ``end``, as far as it makes sense."""
    while at < min(end, len(data)):
        width = 9 - data[at].bit_length()
        length_at = at + width
        if width > 4 or length_at >= len(data) or not data[length_at]:
            return
        wide = 9 - data[length_at].bit_length()
        body = length_at + wide
        if body > len(data):
            return
        length = int.from_bytes(data[length_at:body], "big") & ((1 << 7 * wide) - 1)
        whole = length != (1 << 7 * wide) - 1
        stop = body + length if whole else end
        if stop > end:
            return
        yield _Element(int.from_bytes(data[at:length_at], "big"), at, body, stop, whole)
        at = stop


def _before_clusters(data: memoryview, segment: _Element) -> list[_Element]:
    found: list[_Element] = []
    for element in _elements(data, segment.body, segment.end):
        if element.kind == _CLUSTER or element.end > len(data):
            break
        found.append(element)
    return found


def _tag(told: Mapping[str, str]) -> bytes:
    pairs = (_element(_NAME, name.encode()) + _element(_STRING, text.encode()) for name, text in told.items())
    return _element(_TAG, _element(_TARGETS, b"") + b"".join(_element(_SIMPLE, pair) for pair in pairs))


def _listed(data: memoryview, before: list[_Element], head: _Element, at: int) -> bytes | None:
    """The list with the new place of the tags, and the void behind it; None where there is no room for it."""
    entries = []
    for seek in (e for e in _elements(data, head.body, head.end) if e.kind == _SEEK):
        held = {e.kind: bytes(data[e.body : e.end]) for e in _elements(data, seek.body, seek.end)}
        if held.get(_SEEK_ID) != _TAGS.to_bytes(4, "big"):
            entries.append(bytes(data[seek.start : seek.end]))
    place = at.to_bytes(max(1, -(-at.bit_length() // 8)), "big")
    entries.append(_element(_SEEK, _element(_SEEK_ID, _TAGS.to_bytes(4, "big")) + _element(_SEEK_AT, place)))
    fresh = _element(_HEAD, b"".join(entries))
    behind = before[before.index(head) + 1 :][:1]
    room = (behind[0].end if behind and behind[0].kind == _VOID else head.end) - head.start
    left = room - len(fresh)
    return None if left < 0 or left == 1 else fresh + (_void(left) if left else b"")


def _void(size: int) -> bytes:
    """``size`` bytes, 2 at least, that mean nothing."""
    wide = 1 if size < 2 + 127 else _LENGTH
    body = size - 1 - wide
    return bytes([_VOID]) + (_length(body) if wide == _LENGTH else bytes([0x80 | body])) + bytes(body)


def _element(kind: int, body: bytes) -> bytes:
    name = kind.to_bytes(-(-kind.bit_length() // 8), "big")
    return name + (bytes([0x80 | len(body)]) if len(body) < 127 else _length(len(body))) + body


def _length(value: int) -> bytes:
    return (1 << 7 * _LENGTH | value).to_bytes(_LENGTH, "big")
