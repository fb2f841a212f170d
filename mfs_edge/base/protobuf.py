"""The wire format of protobuf messages, read without their definitions.

Enough for what ONNX and Core ML files say of their graphs, on installs that have neither library
(protobuf.dev, "Encoding"). Reading runs no code and copies no weights.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}


class Message:
    """The fields of one message by number; a missing one is empty, zero or the given default.

    Raises:
        IndexError, KeyError, UnicodeDecodeError: the bytes are no message.
    """

    def __init__(self, data: bytes | memoryview = b"") -> None:
        self.data = memoryview(data)
        self.fields: dict[int, list[int | memoryview]] = {}
        for number, value in _fields(self.data):
            self.fields.setdefault(number, []).append(value)

    def __contains__(self, field: int) -> bool:
        return field in self.fields

    def number(self, field: int, default: int = 0) -> int:
        """An integer; the last one counts where it stands there several times."""
        found = [value for value in self.fields.get(field, ()) if isinstance(value, int)]
        return found[-1] if found else default

    def numbers(self, field: int) -> list[int]:
        """A repeated integer, packed or not."""
        found: list[int] = []
        for value in self.fields.get(field, ()):
            found += [value] if isinstance(value, int) else _unpacked(value)
        return found

    def raw(self, field: int) -> memoryview:
        """A field of bytes, or of a fixed width."""
        found = [value for value in self.fields.get(field, ()) if not isinstance(value, int)]
        return found[-1] if found else self.data[:0]

    def text(self, field: int) -> str:
        return bytes(self.raw(field)).decode()

    def texts(self, field: int) -> list[str]:
        return [bytes(value).decode() for value in self.fields.get(field, ()) if not isinstance(value, int)]

    def message(self, field: int) -> Message:
        return Message(self.raw(field))

    def messages(self, field: int) -> list[Message]:
        return [Message(value) for value in self.fields.get(field, ()) if not isinstance(value, int)]

    def mapping(self, field: int) -> dict[str, Message]:
        """A map of names to messages: entries of key 1 and value 2."""
        return {entry.text(1): entry.message(2) for entry in self.messages(field)}


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at, end = 0, len(data)
    while at < end:
        tag, at = (data[at], at + 1) if data[at] < 0x80 else _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _LENGTH:
            size, at = (data[at], at + 1) if at < end and data[at] < 0x80 else _varint(data, at)
        else:
            size = _FIXED[wire]
        if at + size > end:
            raise IndexError("it ends too early")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError("a number does not end")


def _unpacked(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        number, at = _varint(data, at)
        yield number
