"""Measure artefacts on devices, and fail a change that makes them slower or larger.

``mfs_edge.bench(...)`` is ``mfs-edge bench ...`` with the same names, and ``mfs_edge.bench``
is also this package: the module is callable, because Python binds a subpackage to its name
in the parent whenever it is imported, over any function of that name. See
:func:`mfs_edge.bench.run.bench` for the arguments.
"""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfs_edge.bench.results import Report


class _CallableModule(ModuleType):
    def __call__(self, *artefacts: Any, **options: Any) -> Report:
        from mfs_edge.bench.run import bench

        return bench(*artefacts, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        from mfs_edge.bench.run import bench

        return inspect.signature(bench)


sys.modules[__name__].__class__ = _CallableModule
