"""Hashes and atomic writes: nothing half-written ever has its final name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mfs_edge.base.errors import InputError, OutputError


def under(path: Path) -> list[Path]:
    """The file itself, or every file in a folder and its subfolders, sorted."""
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def sha256(path: Path) -> str:
    """Hex digest of a file, or of a folder's relative names and contents in sorted order."""
    if path.is_dir():
        digest = hashlib.sha256()
        for member in under(path):
            digest.update(f"{member.relative_to(path).as_posix()}\0{sha256(member)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_file(path: Path, what: str) -> Path:
    """``path`` if it is a readable file.

    Raises:
        InputError: it is missing, a folder, unreadable or empty.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; give the path of the {what}") from error
    except (OSError, ValueError) as error:  # a path too long, through a file, with a null character, ...
        reason = getattr(error, "strerror", None) or str(error)
        name = ascii(str(path))[1:-1]
        raise InputError(f"{name}: cannot be opened ({reason}); give the path of the {what}") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a folder; give the {what} file itself")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is a device or pipe; give the {what} as a file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: may not be read; check its permissions")
    if status.st_size == 0:
        raise InputError(f"{path}: is empty; download or write the {what} again")
    return path


def require_text(path: Path) -> Path:
    """``path`` if a runtime can be given its name, which is bytes to the system and text to a runtime.

    Raises:
        InputError: it is not UTF-8, or Python holds it for such as the locale is ASCII.
    """
    if any("\ud800" <= sign <= "\udfff" for sign in str(path)):
        raise InputError(
            f"{path}: its name is not UTF-8 (or the locale is ASCII), and runtimes open no such file; "
            "rename it (or set LC_ALL=C.UTF-8)"
        )
    return path


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals while writing ``path`` into one clear line.

    Raises:
        OutputError: the disk is full or read-only, or the folder may not be written.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written ({reason}); free space or choose another place") from error


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; on success it takes the final name.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    with writing(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp makes it private
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 atomically, what is none of a file's name escaped; raises OutputError as :func:`atomic`."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
