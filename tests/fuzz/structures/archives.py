"""Zip archives, numpy's headers and safetensors' header: what they say of their members changed."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
import zlib
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import edits
from tests.fuzz.registry import Structure
from tests.fuzz.structures import texts

_SIZES = [0, 1, 7, 512, 25600, 2**20, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63, -1]
_SHAPES = st.lists(st.sampled_from(_SIZES), max_size=4).map(tuple) | st.just((1,) * 40)
_DESCRIPTIONS = [
    "<f4",
    ">f4",
    "<f8",
    "<f2",
    "|u1",
    "<i8",
    "|O",
    "<U9",
    "|S0",
    "<c16",
    "<M8[ns]",
    "|V8",
    "<f16",
    "x",
    "",
    "<f4" * 3,
]
_DESCRIPTIONS += [[("a", "<f4")], [("a", "<f4", (2**31,))], [["a", "|O"]]]
_MEGABYTE = 2**20
_NAMES = [
    "",
    "../x",
    "/x",
    "a" * 300,
    "x.npy",
    "embedding.npy",
    "feature_map.npy",
    "data.pkl",
    "\x1b[31m",
    "archive/data/0",
    ".",
]


def as_npy(data: bytes) -> st.SearchStrategy[bytes]:
    """A header that says another shape, type or order, or something else than a header."""
    if data[:6] != b"\x93NUMPY":
        return st.just(data)
    body = data[10 + struct.unpack_from("<H", data, 8)[0] :]
    described = st.fixed_dictionaries(
        {"descr": st.sampled_from(_DESCRIPTIONS), "fortran_order": st.booleans(), "shape": _SHAPES},
        optional={"extra": texts.LEAVES},
    )
    odd = [
        "{}",
        "()",
        "{'descr': 1}",
        "[" * 3000,
        "{" * 3000,
        "-" * 5000 + "1",
        "9" * 5000,
        "__import__('os').system('true')",
        "{'a':" * 200,
    ]
    headers = st.one_of(described.map(repr), described.map(repr), st.sampled_from(odd))
    versions = st.sampled_from([(1, 0), (2, 0), (3, 0), (4, 0), (0, 0)])
    return st.tuples(headers, versions, st.integers(0, len(body))).map(lambda d: _npy(d[0], d[1], body[: d[2]] or body))


def _npy(header: str, version: tuple[int, int], body: bytes) -> bytes:
    text = header.encode("utf-8", "replace") + b"\n"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text) % 65536)
    return b"\x93NUMPY" + bytes(version) + length + text + body


def as_zip(*inner: Structure) -> Structure:
    """Members' contents edited by ``inner``, their names, order, compression and declared sizes changed."""

    def structure(data: bytes) -> st.SearchStrategy[bytes]:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = [(name, archive.read(name)) for name in archive.namelist()]
        except (zipfile.BadZipFile, KeyError):
            return st.just(data)
        return st.one_of(_members(members, inner), _members(members, inner), _records(data))

    return structure


def _members(members: list[tuple[str, bytes]], inner: tuple[Structure, ...]) -> st.SearchStrategy[bytes]:
    @st.composite
    def edited(draw: st.DrawFn) -> bytes:
        found = list(members)
        at = draw(st.integers(0, len(found) - 1))
        name, content = found[at]
        what = draw(st.sampled_from(["content", "content", "content", "name", "drop", "twice"]))
        if what == "content":
            chosen = draw(st.sampled_from([edits.blind, *inner, *inner]))
            found[at] = (name, draw(chosen(content)))
        elif what == "name":
            found[at] = (draw(st.sampled_from([*_NAMES, *(other for other, _ in members)])), content)
        elif what == "twice":
            found.append((name, draw(edits.blind(content))))
        else:
            del found[at]
        kinds = [zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
        return _zipped(found, draw(st.sampled_from(kinds)))

    return edited()


def _zipped(members: list[tuple[str, bytes]], kind: int) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", kind) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = kind
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of two members of one name, which is the point
                archive.writestr(info, content)
    return held.getvalue()


def _records(data: bytes) -> st.SearchStrategy[bytes]:
    """A field of a zip's own records: sizes, checksums, offsets, methods, flags."""
    marks = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07")
    places = [at for mark in marks for at in _occurrences(data, mark)] or [0]
    field = st.tuples(
        st.sampled_from(places), st.integers(4, 45), st.sampled_from([1, 2, 4, 8]), st.sampled_from(edits.NUMBERS)
    )

    def put(drawn: tuple[int, int, int, int]) -> bytes:
        place, offset, width, number = drawn
        content = (number % 2 ** (8 * width)).to_bytes(width, "little")
        return data[: place + offset] + content + data[place + offset + width :]

    return field.map(put)


def _occurrences(data: bytes, mark: bytes) -> list[int]:
    found, at = [], data.find(mark)
    while at >= 0:
        found.append(at)
        at = data.find(mark, at + 1)
    return found


def npy_header(values: int) -> bytes:
    """Of a ``.npy`` with so many float32."""
    return _npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({values},)}}", (1, 0), b"")


def bomb(name: str, header: bytes) -> bytes:
    """A zip whose member ``name`` is ``header`` and 2 GB of zeros, deflated to almost nothing."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(header) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(_MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)  # the same for every megabyte
    packed = first + zeros * 2048 + packer.flush()
    checksum = zlib.crc32(header)
    for _ in range(2048):
        checksum = zlib.crc32(bytes(_MEGABYTE), checksum)
    sizes = (checksum, len(packed), len(header) + 2048 * _MEGABYTE, len(name), 0)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, zipfile.ZIP_DEFLATED, 0, 0, *sizes) + name.encode()
    central = (
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, zipfile.ZIP_DEFLATED, 0, 0, *sizes, 0, 0, 0, 0, 0)
        + name.encode()
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local) + len(packed), 0)
    return local + packed + central + end


def as_safetensors(data: bytes) -> st.SearchStrategy[bytes]:
    """A header of other values and of the right length."""
    length = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + length], data[8 + length :]

    def put(text: bytes) -> bytes:
        return len(text).to_bytes(8, "little") + text + body

    return st.one_of(texts.as_json(header).map(put), _entries(header).map(put))


def _entries(header: bytes) -> st.SearchStrategy[bytes]:
    """One tensor that says another type, shape or place."""
    held: dict[str, Any] = json.loads(header)
    kinds = st.sampled_from(
        ["F32", "F16", "BF16", "F64", "F8_E4M3", "F8_E5M2", "F4", "I64", "U8", "BOOL", "C64", "X", "f32"]
    )
    entry = st.fixed_dictionaries(
        {
            "dtype": kinds,
            "shape": _SHAPES.map(list),
            "data_offsets": st.lists(st.sampled_from(_SIZES), min_size=2, max_size=2),
        }
    )
    return st.tuples(st.sampled_from(sorted(held)), entry).map(lambda d: json.dumps({**held, d[0]: d[1]}).encode())
