"""coremltools, without its chatter.

It tells stderr of every Apple library it misses off macOS and of every torch newer than
itself, and draws progress bars. What goes wrong arrives as an exception.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from types import ModuleType

from mfs_edge.base import extras

EXTRA = "coreml"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep coremltools' log lines and progress bars off the terminal."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def require() -> ModuleType:
    """coremltools, imported.

    Raises:
        MissingDependency: it is not installed.
    """
    with quiet():
        return extras.require("coremltools", EXTRA)
