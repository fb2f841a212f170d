"""Optional dependencies: imported where used, and named when missing."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from mfs_edge.base.errors import MissingDependency
from mfs_edge.base.reasons import reason_of


def require(module: str, extra: str) -> ModuleType:
    """Import ``module``, which the pip extra ``extra`` provides.

    Raises:
        MissingDependency: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingDependency(
            f"{package} is needed here and cannot be imported ({reason_of(error)}); "
            f"install it with: pip install 'mfs-edge[{extra}]'"
        ) from error


def available(module: str) -> bool:
    """Whether ``module`` is installed, without importing it."""
    return importlib.util.find_spec(module) is not None


def distribution(module: str) -> str:
    """What pip calls the distribution of a module."""
    return {"cv2": "opencv-python-headless", "c2pa": "c2pa-python"}.get(module, module.replace("_", "-"))
