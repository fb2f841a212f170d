"""What a folder of WebAssembly holds: ``idn.json`` tells, as it does for C; and its modules ask for nothing.

A module runs in a sandbox, in wasmtime as in a browser: it reaches its own memory and what it
imports. Nobody hands ours anything, so that one from a stranger can do no more than compute a wrong
picture, which is what any format's weights can do. It need not be compiled again to be trusted, as C
must be; that two versions of a compiler write other bytes is no harm then. But it must be small and
import nothing, and that is looked at here, before any runtime sees it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mfs_edge.base.errors import InputError
from mfs_edge.program import Program

from ..native import read as native

MODULES = ("idn.wasm", "idn-relaxed.wasm")
HEAD = b"\0asm\1\0\0\0"
IMPORTS, MEMORY, START = 2, 5, 8  # sections
PAGE = 65536  # bytes of memory
MOST_MEMORY = 2**30
MOST_BYTES = 2**22  # of a module


def read(path: Path) -> Program:
    """The network in ``path``, a folder.

    Raises:
        InputError: a file is missing or is not the one that was written, or a module wants more than memory.
    """
    found = native.read(path)
    for name in MODULES:
        check(path / name)
    return replace(found, format="WebAssembly")


def check(file: Path) -> None:
    """Nothing is returned.

    Raises:
        InputError: the module is damaged, or wants more of its host than some memory.
    """
    try:
        _check(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); {native.AGAIN}") from error
    except (ValueError, IndexError) as error:
        raise InputError(f"{file}: is no module of ours ({error}); {native.AGAIN}") from error


def _check(module: bytes) -> None:
    """Raises ValueError or IndexError if it is damaged at its ends, imports, starts by itself or wants much memory."""
    if not module.startswith(HEAD) or len(module) > MOST_BYTES:
        raise ValueError("it does not begin as a module does, or is too large")
    at = len(HEAD)
    while at < len(module):
        kind = module[at]
        length, at = _number(module, at + 1)
        if at + length > len(module):
            raise ValueError("it is cut off")
        if kind in (IMPORTS, START):
            raise ValueError("it imports something" if kind == IMPORTS else "it has a start function")
        if kind == MEMORY:
            _memory(module[at : at + length])
        at += length


def _memory(section: bytes) -> None:
    """One memory, whose least size is bounded."""
    count, at = _number(section, 0)
    if count != 1:
        raise ValueError(f"it has {count} memories")
    least, _ = _number(section, at + 1)
    if least * PAGE > MOST_MEMORY:
        raise ValueError(f"it wants {least * PAGE} bytes of memory")


def _number(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 of 32 bits at ``at``, and where it ends."""
    value = 0
    for shift in range(0, 35, 7):
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    raise ValueError("a number in it has no end")
