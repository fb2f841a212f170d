"""Standard output and standard error where they are closed, full, or nobody reads them any more.

A reader that has gone (``| head``) ends the program quietly, as SIGPIPE ends Unix's own tools. Output
that cannot be written is a failure like any other: one line and exit code 2. Standard error carries no
results: what it cannot take is lost, and the exit code still tells.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

from mfs_edge.base.errors import OutputError

GONE = 141  # what a shell reports of a program that SIGPIPE ended


class _Guarded(io.FileIO):
    """A file descriptor; after its first failure it takes everything and writes nothing."""

    def __init__(self, number: int, *, closed: bool, carries_results: bool) -> None:
        super().__init__(number, "w", closefd=False)
        self._closed_before, self._carries_results, self._dead = closed, carries_results, False

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        if self._dead:
            return size
        try:
            if self._closed_before:
                raise OSError(errno.EBADF, "it is closed")
            return super().write(data) or 0
        except OSError as error:
            self._dead = True
            if not self._carries_results:
                return size
            if error.errno == errno.EPIPE:
                raise SystemExit(GONE) from error
            raise OutputError(
                f"standard output: cannot be written ({error.strerror}), so the result is not shown; "
                "files that were made are whole: free space, or send the output elsewhere"
            ) from error


def guard() -> None:
    """Replace both streams by guarded ones; what no encoding of theirs can write is escaped."""
    closed = {name: getattr(sys, name) is None for name in ("stdout", "stderr")}
    for number in range(3):  # else the next file that is opened becomes a standard stream
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        buffer = getattr(stream, "buffer", None)
        if stream is not None and not isinstance(getattr(buffer, "raw", buffer), io.FileIO):
            continue  # a console of Windows, or what embeds us
        raw = _Guarded(number, closed=closed[name], carries_results=name == "stdout")
        text = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=stream.encoding if stream else "utf-8",
            errors="backslashreplace",
            line_buffering=stream is not None and stream.line_buffering,
            write_through=stream is not None and stream.write_through,
        )
        setattr(sys, name, text)
