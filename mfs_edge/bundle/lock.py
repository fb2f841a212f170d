"""One writer per folder: the operating system's lock on a file, which ends with its holder, however that ends.

Some network shares have no such locks. There the file's existence is the lock (filelock's
``SoftFileLock``), which outlives a holder that was killed on another machine.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge.base.errors import OutputError

if TYPE_CHECKING:
    from filelock import BaseFileLock

NAME = ".mfs-edge.lock"
PROBE = ".mfs-edge-probe-"
SECONDS = 60.0  # to wait for another run; it holds the lock for as long as renames take
_UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK, errno.EPERM)
_ABANDONED_SECONDS = 24 * 3600.0  # no run takes as long


def soft(folder: Path) -> bool:
    """Whether ``folder`` lies where files cannot be locked.

    Raises:
        OSError: no file can be made there.
    """
    import filelock

    probe = folder / f"{PROBE}{secrets.token_hex(8)}"  # nobody else's
    try:
        lock: BaseFileLock = filelock.FileLock(probe, timeout=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # filelock's own, on falling back; the caller says it in its words
            lock.acquire()
        lock.release()
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return True
    finally:
        with contextlib.suppress(OSError):  # swept later
            probe.unlink()
    return isinstance(lock, filelock.SoftFileLock)


def taken(path: Path, *, soft: bool, wait: float = 0.0) -> BaseFileLock:
    """The lock on ``path``, to be released.

    Raises:
        filelock.Timeout: somebody else held it for ``wait`` seconds.
    """
    import filelock

    kind = filelock.SoftFileLock if soft else filelock.FileLock
    lock: BaseFileLock = kind(path, timeout=wait, thread_local=False)
    lock.acquire(poll_interval=0.02)
    return lock


@contextlib.contextmanager
def held(folder: Path, *, soft: bool, wait: float = SECONDS) -> Iterator[None]:
    """Nobody else publishes into ``folder`` meanwhile; threads of this process, too, wait for each other.

    Raises:
        OutputError: another run did not finish in ``wait`` seconds.
        OSError: ``folder`` is gone or cannot be written.
    """
    import filelock

    path = folder / NAME
    try:
        lock = taken(path, soft=soft, wait=wait)
    except filelock.Timeout as error:
        hint = f", or delete {path} if there is no such run" if soft else ""
        raise OutputError(
            f"{folder}: another run is writing its results there (waited {wait:g} s); try again{hint}, or choose "
            "another --out"
        ) from error
    try:
        yield
    finally:
        if not soft:
            # While it is held: whoever waits for this very file finds it gone, and begins anew with a fresh one.
            with contextlib.suppress(OSError):
                path.unlink()
        lock.release()


def abandoned(path: Path, *, soft: bool) -> bool:
    """Whether the run that made the lock file ``path`` is over.

    By the lock, never by a process's number: another container or machine counts its own. Where files
    cannot be locked only the file's age tells.
    """
    import filelock

    if soft:
        with contextlib.suppress(OSError):  # gone: then it is over
            return time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
        return True
    try:
        taken(path, soft=False).release()
    except filelock.Timeout:
        return False
    return True
