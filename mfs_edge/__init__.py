"""mfs-edge: compile MobileFaceSwap to edge devices.

``mfs_edge.compile(...)`` is ``mfs-edge compile ...`` and ``mfs_edge.bench(...)`` is ``mfs-edge
bench ...``, with the same names.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["bench", "compile"]

if TYPE_CHECKING:
    from mfs_edge import bench
    from mfs_edge.pipeline import compile


def __getattr__(name: str) -> Any:
    """Both are imported on first use: the command line must start fast."""
    if name == "compile":
        return importlib.import_module("mfs_edge.pipeline").compile
    if name == "bench":  # the package itself is callable
        return importlib.import_module("mfs_edge.bench")
    raise AttributeError(f"module 'mfs_edge' has no attribute {name!r}")
