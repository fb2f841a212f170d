"""Runtimes talk on standard error, from C++, and no setting stops them."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def without_info_lines() -> Iterator[None]:
    """Drop lines such as "INFO: Created TensorFlow Lite XNNPACK delegate for CPU." while inside.

    Everything else that reaches the process's standard error meanwhile is passed on.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            caught.seek(0)
            said = b"".join(line for line in caught if not line.startswith(b"INFO:"))
            with contextlib.suppress(OSError):  # standard error is full, or nobody reads it: there is no one to tell
                os.write(2, said)
            os.close(terminal)
