"""Read a pickle of numpy arrays and plain containers, and nothing else.

A pickle is a program. This reader resolves a name only if it is one of the few that
checkpoints are made of, and even those it replaces by the small stand-ins of ``inert``, so
that no code of anyone else's runs on a stranger's data. The stand-ins cannot be altered
from inside a pickle (its BUILD instruction sets attributes of whatever it is given).

Format: CPython ``pickle`` protocols 0-5; array state as in ``numpy.ndarray.__reduce__``.
"""

from __future__ import annotations

import mmap
import pickle
import pickletools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, cast

from mfs_edge.load import limits
from mfs_edge.load.inert import Array, Namespace, admitted
from mfs_edge.load.keys import Keys
from mfs_edge.load.limits import Budget
from mfs_edge.load.refusal import Refused, quoted

__all__ = ["Names", "Rebuild", "Refused", "Source", "load", "quoted", "read", "unwrap"]

Names = Mapping[tuple[str, str], Any]
_MEMO = ("PUT", "BINPUT", "LONG_BINPUT")
_LONG = 1 << 64
_MAX_LONGS = 10_000  # ints beyond 64 bits can be chosen to fall on one place of a hash table


class Source(Protocol):
    """What a pickle is read from: a file, or bytes in memory behind ``io.BytesIO``."""

    def read(self, size: int = -1, /) -> bytes: ...
    def readline(self) -> bytes: ...
    def seek(self, position: int, /) -> Any: ...
    def tell(self) -> int: ...


class _Reader(pickle.Unpickler):
    def __init__(self, file: Source, names: Names, persistent: Callable[[Any], Any] | None) -> None:
        super().__init__(cast("BinaryIO", file), encoding="latin1")
        self._names = names
        self._persistent = persistent

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._names[module, name]
        except KeyError:
            raise Refused(f"the code {quoted(module)}.{quoted(name)}") from None

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise Refused("references to data outside the file")
        return self._persistent(pid)


def _scan(source: Source, size: int) -> None:
    """Check that every length is covered by data, and that the program is short enough and hashes little.

    The C reader allocates what a length or memo number says before it looks whether the
    file is that long, so that ten bytes can ask it for all of the memory.
    """
    longs, most, keys = 0, limits.steps(), Keys()
    operations = pickletools.genops(cast("IO[bytes]", source))  # it needs read, readline and tell
    for count, (opcode, argument, _position) in enumerate(operations):
        if count > most:
            raise limits.TooLarge("is a pickle of many small things", f"{most:,} instructions")
        limit = size if opcode.name == "FRAME" else count if opcode.name in _MEMO else None
        if limit is not None and not (isinstance(argument, int) and argument <= limit):
            raise ValueError(f"{opcode.name} {argument}: beyond what the file holds")
        longs += type(argument) is int and abs(argument) >= _LONG
        if longs > _MAX_LONGS:
            raise Refused(f"more than {_MAX_LONGS:,} integers beyond 64 bits")
        keys.step(opcode, argument)


class Rebuild:
    """Copy plain containers with ``convert`` applied to everything else, each object once.

    Once, because a few bytes can nest shared lists that would take for ever to walk.
    """

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        self._convert = convert
        self._done: dict[int, Any] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Namespace):
            value = value.attributes or {}
        if not isinstance(value, dict | list | tuple):
            return self._convert(value)
        if id(value) not in self._done:
            self._done[id(value)] = self._container(value)
        return self._done[id(value)]

    def _container(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self(item) for key, item in dict.items(value)}
        items = [self(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items


def unwrap(value: Any) -> Any:
    if not isinstance(value, Array):
        return value
    if value.value is None:
        raise Refused("an array without data")
    return value.value


def read(
    source: Source, *, size: int, names: Names | None = None, persistent: Callable[[Any], Any] | None = None
) -> Any:
    """The object that starts where ``source`` stands, stand-ins not yet replaced; it then stands behind it.

    Args:
        source: seekable.
        size: bytes of the whole of it.
        names: see :func:`mfs_edge.load.inert.admitted`; None takes that alone.
        persistent: called for references to data outside the pickle; None refuses them.

    Raises:
        Refused: it holds anything that is not admitted.
        limits.TooLarge: it would take more than the bounds.
        Exception: whatever a damaged pickle provokes in the standard library's reader.
    """
    start = source.tell()
    _scan(source, size)
    end = source.tell()
    source.seek(start)
    try:
        found = _Reader(source, admitted(Budget(size)) if names is None else names, persistent).load()
    except RecursionError as error:
        raise Refused("containers nested too deep to be a checkpoint") from error
    source.seek(end)  # the C reader reads ahead
    return found


def load(path: Path) -> Any:
    """The object in ``path``, its arrays as ``numpy.ndarray``.

    Raises:
        Refused, limits.TooLarge, Exception: as :func:`read`.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = read(cast("Source", data), size=len(data))
        try:
            return Rebuild(unwrap)(found)
        except RecursionError as error:
            raise Refused("containers nested too deep to be a checkpoint") from error
