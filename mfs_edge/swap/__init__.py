"""From a picture, a video or a camera to the same with faces swapped: find, align, run, paste, and say so.

``mfs_edge.swap(...)`` is ``mfs-edge swap ...``, with the same names. Its parts are in this package, which bears the
same name: so the package itself is what is called.
"""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A module that is called as ``swap.run.swap`` is; imported on first use, as the command line must start fast."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from mfs_edge.swap.run import swap

        return swap(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        from mfs_edge.swap.run import swap

        return inspect.signature(swap)


sys.modules[__name__].__class__ = _Callable
