"""Hashes and atomic writes: nothing half-written ever has its final name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from mfs_edge.base.errors import InputError, OutputError
from mfs_edge.base.reasons import reason_of

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_LOST = (*_FULL, errno.EIO)  # from fsync: what was written is not on the disk
_UNWRITTEN = re.compile(r"iostream|filesystem error|FileWriter|open .*file", re.IGNORECASE)  # as C++ libraries say it
_BLOCK = 1 << 16
_NO_TEMPORARY = "No usable temporary directory"
_BUSY = (errno.EBUSY, errno.ETXTBSY, errno.EACCES, errno.EPERM)  # shares, while somebody has the old file open
_BUSY_TRIES, _BUSY_SECONDS = 5, 0.05
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-z_]{8}\.tmp", re.DOTALL)
_KEPT = 50  # signs of a file's name that its temporary has


def under(path: Path) -> list[Path]:
    """The file itself, or every file in a folder and its subfolders, sorted.

    Raises:
        InputError: the folder holds a symbolic link that leads out of it, or to a folder.
    """
    if not path.is_dir():
        return [path]
    inside = list(path.rglob("*"))
    for link in (p for p in inside if p.is_symlink()):
        if link.is_dir() or not link.resolve().is_relative_to(path.resolve()):
            raise InputError(f"{link}: is a symbolic link to something else; put the file itself there (cp -rL)")
    return sorted(p for p in inside if p.is_file())


def confined(folder: Path, name: str, *, source: Path) -> Path:
    """The file or folder ``name`` in ``folder``, which ``source`` speaks of.

    Args:
        folder: that it must not leave.
        name: with forward slashes; whoever wrote it may be a stranger.
        source: for the message.

    Raises:
        InputError: it lies elsewhere, or leads elsewhere by a symbolic link.
    """
    if not plain(name):
        raise InputError(f"{source}: names {name!a}, which is not inside of its folder; give files that lie together")
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:  # a loop of links
        raise InputError(f"{path}: cannot be followed ({error}); put the file itself there") from error
    if not inside:
        raise InputError(f"{path}: is a symbolic link out of its folder; put the file itself there (cp -L)")
    return path


LONGEST = 255  # bytes of a name on the file systems in use


def plain(name: str) -> bool:
    """Whether ``name`` is a relative path that stays below where it starts, and can be one, on any system."""
    parts = PurePosixPath(name).parts
    windows = PureWindowsPath(name)
    rooted = name.startswith("/") or windows.drive or windows.root
    short = all(len(os.fsencode(part)) <= LONGEST for part in parts if "\0" not in part)
    return bool(parts) and short and not rooted and "\0" not in name and ".." not in (*parts, *windows.parts)


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
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); {_way_out(error)}") from error


def temporary_refused(error: Exception) -> OutputError | None:
    """What to tell where ``error`` came from the folder for temporary files, not from the file at hand; or None."""
    if not isinstance(error, OSError) or not (error.errno in (*_FULL, errno.EROFS) or _NO_TEMPORARY in str(error)):
        return None
    return _temporary(error)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder among the temporary files, gone afterwards.

    Raises:
        OutputError: they cannot be written; other exceptions pass.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="mfs-edge-") as folder:
            yield Path(folder)
    except OSError as error:
        if refused := temporary_refused(error):
            raise refused from error
        raise


def _temporary(error: OSError) -> OutputError:
    try:
        folder = tempfile.gettempdir()
    except OSError:  # none is left
        folder = "$TMPDIR"
    reason = error.strerror or str(error)
    return OutputError(
        f"{folder}: temporary files cannot be written ({reason}); free space there, or name another folder in $TMPDIR"
    )


@contextlib.contextmanager
def converting(path: Path, *, size: int) -> Iterator[None]:
    """As :func:`writing`, around a library in C++: that says "iostream error" of a full disk, or less.

    So the system is asked in its place, by writing as much beside ``path`` and among the temporary files.

    Args:
        path: what is written.
        size: of it, at most, in bytes.

    Raises:
        OutputError: as :func:`writing`, or the folder for temporary files is full; other exceptions pass.
    """
    with writing(path):
        try:
            yield
        except (OSError, RuntimeError) as error:
            _try(path.parent, size)
            try:
                _try(None, size)
            except OSError as refused:
                raise _temporary(refused) from error
            if isinstance(error, OSError) or not _UNWRITTEN.search(str(error)):
                raise
            raise OutputError(
                f"{path}: cannot be written ({reason_of(error)}); free space there and for temporary files"
            ) from error


def _try(folder: Path | None, size: int) -> None:
    """Raises OSError if ``size`` bytes cannot be written into the folder; of temporary files, where it is None."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(-(-size // _BLOCK)):
            file.write(bytes(_BLOCK))
        os.fsync(file.fileno())


def _way_out(error: OSError) -> str:
    if error.errno in _FULL:
        return "free space or choose another place"
    if error.errno in _FORBIDDEN:
        return "allow it (permissions, mount options) or choose another place"
    return "choose another place"


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; on success it takes the final name.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    with writing(path):
        temporary = path.with_name(f".{path.name[:_KEPT]}.{secrets.token_hex(4)}.tmp")
        # A fresh file with the permissions that the umask leaves: some file systems refuse to change them later.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            yield temporary
            sync(temporary)
            replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def temporary_of(name: str) -> str | None:
    """What the file is for that :func:`atomic` calls ``name`` while it is written; None if it is no such name.

    Of a long name this is the beginning: compare with that of :func:`known_as`.
    """
    found = _TEMPORARY.fullmatch(name)
    return found["name"] if found else None


def known_as(name: str) -> str:
    """What :func:`temporary_of` says of the temporaries of a file called ``name``."""
    return name[:_KEPT]


def sync(path: Path) -> None:
    """Bring a file or a folder's entries to the disk, where the file system can do that.

    Some (network shares, FUSE) cannot, and say so; what was written is as safe there as they make it.

    Raises:
        OSError: the disk is full or failed; what was written is lost.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in _LOST:
            raise


def replace(source: Path, destination: Path) -> None:
    """Rename a file over another; patiently, as shares refuse it while a reader has the other one open.

    Raises:
        OSError: it stays refused.
    """
    for tries_left in reversed(range(_BUSY_TRIES)):
        try:
            source.replace(destination)
        except OSError as error:
            if error.errno not in _BUSY or not tries_left or destination.is_dir():
                raise
            time.sleep(_BUSY_SECONDS)
        else:
            return


def delete(path: Path) -> None:
    """A file or a whole folder, if it is there; of a symbolic link the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def twin(source: Path, to: Path, *, link: bool = True) -> None:
    """The same file or folder under a second name, which is free; with the permissions that the umask leaves.

    Args:
        source: stays.
        to: the second name.
        link: share the files' bytes (and permissions), where the file system has hard links.

    Raises:
        OSError: the disk is full, ...
    """
    if source.is_dir():
        to.mkdir()
        for inner in sorted(source.iterdir()):
            twin(inner, to / inner.name, link=link)
        return
    if link:
        with contextlib.suppress(OSError):  # vfat, exFAT and some shares have none; then it is a copy
            os.link(source, to)
            return
    shutil.copyfile(source, to)
    sync(to)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 atomically, what is none of a file's name escaped; raises OutputError as :func:`atomic`."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
