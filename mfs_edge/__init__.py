"""mfs-edge: compile MobileFaceSwap to edge devices.

``mfs_edge.compile(...)`` is ``mfs-edge compile ...``, and likewise ``mfs_edge.bench(...)`` and
``mfs_edge.swap(...)``, with the same names; ``mfs_edge.pack.make(...)`` and ``mfs_edge.pack.apply(...)`` are
``mfs-edge pack``. All are plain functions, imported on first use (PEP 562): the command line must start fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mfs_edge.base.version import __version__

if TYPE_CHECKING:
    from mfs_edge import pack, swap
    from mfs_edge.measure.run import bench
    from mfs_edge.pipeline.compile import compile
    from mfs_edge.pipeline.enrol import enrol

__all__ = ["__version__", "bench", "compile", "enrol", "pack", "swap"]

_HOMES = {
    "bench": "mfs_edge.measure.run",
    "compile": "mfs_edge.pipeline.compile",
    "enrol": "mfs_edge.pipeline.enrol",
}


def __getattr__(name: str) -> Any:
    if name in ("pack", "swap"):
        return importlib.import_module(f"mfs_edge.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'mfs_edge' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
