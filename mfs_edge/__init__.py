"""mfs-edge: compile MobileFaceSwap to edge devices.

``mfs_edge.compile(...)`` is ``mfs-edge compile ...`` with the same names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["compile"]

if TYPE_CHECKING:
    from mfs_edge.pipeline import compile


def __getattr__(name: str) -> Any:
    if name in __all__:  # imported on first use: the command line must start fast
        from mfs_edge import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module 'mfs_edge' has no attribute {name!r}")
