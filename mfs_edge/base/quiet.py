"""Runtimes talk on standard error, from C++, and no setting stops them."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import BinaryIO

_one_at_a_time = threading.RLock()  # the process has one standard error


@contextlib.contextmanager
def caught() -> Iterator[BinaryIO]:
    """Yield a file that takes what reaches the process's standard error, from C too, while inside."""
    with _one_at_a_time, tempfile.TemporaryFile() as file:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            terminal = os.dup(2)
        except OSError:  # closed, as in a daemon: nothing to come back to
            terminal = None
        os.dup2(file.fileno(), 2)
        try:
            yield file
        finally:
            if terminal is None:
                os.close(2)
            else:
                os.dup2(terminal, 2)
                os.close(terminal)


@contextlib.contextmanager
def without_info_lines() -> Iterator[None]:
    """Drop lines such as "INFO: Created TensorFlow Lite XNNPACK delegate for CPU." while inside.

    Everything else that reaches the process's standard error meanwhile is passed on.
    """
    with contextlib.ExitStack() as afterwards, caught() as file:
        afterwards.callback(_pass_on, os.dup(file.fileno()))
        yield


def _pass_on(handle: int) -> None:
    with os.fdopen(handle, "rb") as file:
        file.seek(0)
        said = b"".join(line for line in file if not line.startswith(b"INFO:"))
    if said:
        with contextlib.suppress(OSError):  # closed: there is nobody to tell
            os.write(2, said)
