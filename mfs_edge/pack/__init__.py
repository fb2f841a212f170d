"""Packs: what belongs to one identity, beside a base that all share.

``mfs_edge.pack.make(...)`` is ``mfs-edge pack make ...`` and ``mfs_edge.pack.apply(...)`` is ``mfs-edge
pack apply ...``, with the same names. Applying loads neither a compiler nor a runtime.
"""

from __future__ import annotations

from mfs_edge.pack.apply import apply
from mfs_edge.pack.make import make

__all__ = ["apply", "make"]
