"""Torch's files without torch: ``torch.save`` of 1.6 and later (a zip), and of before.

The pickle inside is read by ``pickles``; tensors become numpy arrays over the file's own bytes.
bfloat16, which numpy lacks, comes out as :data:`BFLOAT16`. Every member of a zip is compared with its
checksum first, because the format has no other protection. One that is compressed is unpacked.
"""

from __future__ import annotations

import io
import mmap
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mfs_edge.load import limits, pickles, zips
from mfs_edge.load.inert import Array, Function, Inert, Marker, admitted
from mfs_edge.load.limits import Budget
from mfs_edge.load.refusal import Refused, quoted

BFLOAT16 = np.dtype([("bfloat16", "<u2")])  # its bits, under its name
_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that old files start with, as any protocol pickles it
Order = Literal["<", ">"]
_HEAD = 32
_CHUNK = 1 << 24
_STORAGES = {
    **{"Double": "f8", "Float": "f4", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1"},
    **{"Byte": "u1", "Bool": "b1", "ComplexFloat": "c8", "ComplexDouble": "c16", "BFloat16": "bfloat16"},
}
_DTYPES = {
    **{"float64": "f8", "double": "f8", "float32": "f4", "float": "f4", "float16": "f2", "half": "f2"},
    **{"bfloat16": "bfloat16", "int64": "i8", "long": "i8", "int32": "i4", "int": "i4", "int16": "i2", "int8": "i1"},
    **{"uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "bool": "b1"},
    **{"complex64": "c8", "complex128": "c16"},
}
_PARAMETERS = ("_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_device_tensor_from_numpy")


class BadChecksum(Exception):
    """A member's bytes are not those that its checksum was made of; the text names it."""


class Unusual(Exception):
    """Whole, but not written as torch does; the text completes "it ..."."""


@dataclass(frozen=True)
class _Storage:
    """A run of numbers in the file, of which tensors are views."""

    key: str
    dtype: Any  # a key of _sizes
    start: int = 0  # of the view, in elements
    count: int = 0

    def __setstate__(self, _state: Any) -> None:
        raise Refused("a state for a storage")


@dataclass(frozen=True)
class _Dtype:
    code: str

    def __setstate__(self, _state: Any) -> None:
        raise Refused("a state for a dtype")


class _Tensor(Array):
    """Stands for a tensor until the data of its storage are there."""

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, dtype: Any = None) -> None:
        numbers = [offset, *shape, *strides] if isinstance(shape, tuple) and isinstance(strides, tuple) else [None]
        sane = len(numbers) % 2 == 1 and all(type(n) is int and n >= 0 for n in numbers)
        if not (isinstance(storage, _Storage) and sane):
            raise Refused("a tensor with a malformed description")
        self._storage, self._offset, self._shape, self._strides = storage, offset, shape, strides
        self._dtype = dtype.code if isinstance(dtype, _Dtype) else storage.dtype

    def __setstate__(self, _state: Any) -> None:
        raise Refused("a state for a tensor")

    @property
    def key(self) -> str:
        """Of its storage."""
        return self._storage.key

    def over(self, data: memoryview, order: Order) -> np.ndarray:
        """The array; numpy refuses one that would reach beyond ``data``."""
        plain = np.dtype("u2" if self._dtype == "bfloat16" else self._dtype).newbyteorder(order)
        unit = np.dtype("u2" if self._storage.dtype == "bfloat16" else self._storage.dtype).itemsize
        offset = self._storage.start * unit + self._offset * plain.itemsize
        if 0 in self._shape:
            array = np.empty(self._shape, plain)
        else:
            strides = tuple(step * plain.itemsize for step in self._strides)
            array = np.ndarray(self._shape, plain, data, offset, strides)
        return array.view(BFLOAT16.newbyteorder(order)) if self._dtype == "bfloat16" else array


def is_legacy(head: bytes) -> bool:
    """Whether a file that starts with ``head`` was written as torch did before 1.6."""
    return head[:1] == b"\x80" and _MAGIC in head[:_HEAD]


def read(path: Path, *, checked: bool) -> Any:
    """What the file holds: nested dicts of arrays.

    Args:
        checked: compare every member of a zip with its checksum; False where the file's hash was.

    Raises:
        Refused, limits.TooLarge: see :func:`pickles.read`.
        BadChecksum: the file is damaged.
        Exception: whatever a damaged file provokes in zipfile, pickle and numpy.
    """
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if is_legacy(mapped[:_HEAD]):
        return _read_legacy(mapped)
    with zips.opened(path) as archive:
        return _read_zip(archive, memoryview(mapped), checked=checked)


# --- the zip format --------------------------------------------------------------------------


def _read_zip(archive: zipfile.ZipFile, mapped: memoryview, *, checked: bool) -> Any:
    members = {info.filename: info for info in archive.infolist()}
    if sum(info.compress_size for info in members.values()) > len(mapped):
        raise ValueError("its members overlap")
    limits.check_bytes(sum(i.file_size for i in members.values() if i.compress_type), "what it unpacks to")
    if checked:
        for info in members.values():
            _check(archive, info, mapped)
    pickled = next(name for name in members if name == "data.pkl" or name.endswith("/data.pkl"))
    root = pickled.removesuffix("data.pkl")
    marked = members.get(f"{root}byteorder")
    order: Order = ">" if marked is not None and bytes(_bytes(archive, marked, mapped)) == b"big" else "<"
    unpacked: dict[str, memoryview] = {}

    def data(key: str) -> memoryview:
        if key not in unpacked:
            unpacked[key] = _bytes(archive, members[f"{root}data/{key}"], mapped)
        return unpacked[key]

    program = bytes(_bytes(archive, members[pickled], mapped))
    found = pickles.read(io.BytesIO(program), size=len(program), names=_names(len(program)), persistent=_storage)
    return _rebuilt(found, data, order)


def _bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo, mapped: memoryview) -> memoryview:
    """A member's content: where it lies in the file, or unpacked."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        return memoryview(b"".join(_unpacked(archive, info)))
    header = info.header_offset
    names = int.from_bytes(mapped[header + 26 : header + 28], "little")
    extra = int.from_bytes(mapped[header + 28 : header + 30], "little")
    start = header + 30 + names + extra
    content = mapped[start : start + info.file_size]
    if len(content) != info.file_size or info.compress_size != info.file_size:
        raise ValueError(f"{info.filename} reaches beyond the end of the file")
    return content


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """In pieces: asked for all at once, zipfile unpacks more than a lying header says."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unusual(f"is a zip compressed by method {info.compress_type}")
    with archive.open(info) as stream:
        while piece := stream.read(_CHUNK):
            yield piece


def _check(archive: zipfile.ZipFile, info: zipfile.ZipInfo, mapped: memoryview) -> None:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        for _ in _unpacked(archive, info):
            continue  # zipfile compares the checksum at the end
        return
    archive.open(info).close()  # compares the two headers
    content, found = _bytes(archive, info, mapped), 0
    for start in range(0, len(content), _CHUNK):
        found = zlib.crc32(content[start : start + _CHUNK], found)
    if found != info.CRC:
        raise BadChecksum(quoted(info.filename))


# --- the format before torch 1.6 -------------------------------------------------------------


def _read_legacy(mapped: mmap.mmap) -> Any:
    """Four pickles (magic, protocol, system, the object), one of the storages' keys, then the storages."""
    size = len(mapped)
    _magic, _protocol, system = (pickles.read(mapped, size=size) for _ in range(3))
    order: Order = "<" if system.get("little_endian", True) else ">"
    kinds: dict[str, str] = {}

    def storage(pid: Any) -> _Storage:
        found = _storage(pid)
        kinds.setdefault(found.key, found.dtype)
        return found

    found = pickles.read(mapped, size=size, names=_names(size), persistent=storage)
    keys = pickles.read(mapped, size=size)
    position, runs, view = mapped.tell(), {}, memoryview(mapped)
    for key in keys:
        count = int.from_bytes(view[position : position + 8], "little" if order == "<" else "big")
        length = count * np.dtype("u2" if kinds[key] == "bfloat16" else kinds[key]).itemsize
        runs[key] = view[position + 8 : position + 8 + length]
        if len(runs[key]) != length:
            raise ValueError("a storage reaches beyond the end of the file")
        position += 8 + length
    return _rebuilt(found, runs.__getitem__, order)


# --- both ------------------------------------------------------------------------------------


def _names(size: int) -> dict[tuple[str, str], Any]:
    """What torch's pickles refer to besides the rest."""
    kinds = {f"{name}Storage": _Dtype(code) for name, code in _STORAGES.items()}
    subclasses = ("Tensor", "Parameter", "Buffer")
    rebuild = {
        "_rebuild_tensor": Function(lambda storage, offset, shape, strides: _Tensor(storage, offset, shape, strides)),
        "_rebuild_tensor_v2": Function(lambda s, offset, shape, strides, *_: _Tensor(s, offset, shape, strides)),
        "_rebuild_tensor_v3": Function(_rebuild_v3),
        **{name: Function(lambda tensor, *_rest: tensor) for name in _PARAMETERS},
    }
    return {
        **admitted(Budget(size)),
        **{("torch._utils", name): function for name, function in rebuild.items()},
        **{(module, name): kind for module in ("torch", "torch.cuda") for name, kind in kinds.items()},
        **{("torch.storage", name): kind for name, kind in {**kinds, "UntypedStorage": _Dtype("u1")}.items()},
        **{("torch", name): _Dtype(code) for name, code in _DTYPES.items()},
        **{(m, name): Marker(name) for m in ("torch", "torch.nn.parameter", "torch._tensor") for name in subclasses},
        ("torch._tensor", "_rebuild_from_type_v2"): Function(_rebuild_subclass),
        ("torch", "Size"): admitted(Budget(size))["builtins", "tuple"],
        ("torch", "device"): Function(lambda *_arguments: Inert("device")),
    }


def _rebuild_v3(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> Any:
    return _Tensor(storage, offset, shape, strides, dtype)


def _rebuild_subclass(function: Any, _kind: Any, arguments: Any, _state: Any) -> Any:
    """A tensor with attributes: they are of no use here."""
    if not isinstance(function, Function) or not isinstance(arguments, tuple):
        raise Refused("a tensor with a malformed description")
    return function(*arguments)


def _storage(pid: Any) -> _Storage:
    """("storage", type, key, device, count[, view]); ``view`` is (key, start, count) in old files."""
    if not (isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage" and isinstance(pid[1], _Dtype)):
        raise Refused("references to data outside the file")
    _, kind, key, _device, _count = pid[:5]
    if not isinstance(key, str | int):
        raise Refused("a storage without a name")
    view = pid[5] if len(pid) == 6 else None
    start = view[1] if isinstance(view, tuple) and len(view) == 3 and type(view[1]) is int else 0
    return _Storage(str(key), kind.code, max(0, start))


def _rebuilt(found: Any, data: Callable[[str], memoryview], order: Order) -> Any:
    turned = 0

    def convert(value: Any) -> Any:
        nonlocal turned
        if not isinstance(value, _Tensor):
            return pickles.unwrap(value)
        array = value.over(data(value.key), order)
        if not array.dtype.isnative:  # many tensors may share one storage
            turned += array.nbytes
            limits.check_bytes(turned, "what it unpacks to")
            array = array.astype(array.dtype.newbyteorder("="))
        return array

    return pickles.Rebuild(convert)(found)
