"""Core ML on macOS: the one place where a package is loaded into it.

It stands alone (numpy, coremltools and Pillow, Python 3.9), so that it can travel to a Mac; see
``mfs_edge.target.Engine`` for what its methods promise. Core ML chooses its own threads.
"""

from __future__ import annotations

import contextlib
import io
import logging
import platform
import sys
from collections import Counter
from typing import Any

import numpy as np

# What ``--device macos:UNITS`` can ask for.
UNITS = {"cpu": "CPU_ONLY", "gpu": "CPU_AND_GPU", "ane": "CPU_AND_NE", "all": "ALL"}


class Engine:
    """A compiled model, on the compute units asked for."""

    PACKAGE = "coremltools"
    MODULES = ("coremltools",)
    title = "Core ML"

    def __init__(self, path: str, threads: int = 0, profile: bool = False, units: str = "all") -> None:
        if sys.platform != "darwin":
            raise ImportError("Core ML runs on macOS only; run the same command on a Mac")
        logging.getLogger("coremltools").setLevel(logging.ERROR)
        self.model: Any
        with contextlib.redirect_stderr(io.StringIO()):  # coremltools draws progress bars
            import coremltools

            self.model = coremltools.models.MLModel(path, compute_units=getattr(coremltools.ComputeUnit, UNITS[units]))
        self.title, self.version = f"Core ML ({units})", platform.mac_ver()[0]
        description = self.model.get_spec().description
        self.images: set[str] = {f.name for f in (*description.input, *description.output) if _is_image(f)}
        self.inputs = {feature.name: _taken(feature) for feature in description.input}
        self.feeds: dict[str, Any] = {}
        self.found: dict[str, Any] = {}

    def feed(self, feeds: dict[str, Any]) -> None:
        self.feeds = {name: _picture(value) if name in self.images else value for name, value in feeds.items()}

    def infer(self) -> None:
        self.found = self.model.predict(self.feeds)

    def fetch(self) -> dict[str, Any]:
        return {
            name: _pixels(value) if name in self.images else np.asarray(value) for name, value in self.found.items()
        }

    def layers(self) -> list[dict[str, Any]]:
        """Nothing: Core ML tells its plan, not its times."""
        return []

    def coverage(self) -> dict[str, Any] | None:
        """Which unit Core ML prefers for how many operators (MLComputePlan, macOS 14.4 on)."""
        try:
            units = self._units()
        except ImportError:
            return None
        outside = [unit for unit in units if "NeuralEngine" not in unit]
        pieces = sum(a != b and "NeuralEngine" in b for a, b in zip(["", *units], units))  # noqa: B905 (Python 3.9)
        return {
            "delegate": "Neural Engine",
            "nodes": len(units),
            "delegated": len(units) - len(outside),
            "partitions": pieces,
            "outside": outside,
        }

    def execution(self) -> str:
        """The units that Core ML prefers, by operators."""
        return ", ".join(f"{count} operators on {unit}" for unit, count in Counter(self._units()).items())

    def _units(self) -> list[str]:
        from coremltools.models.compute_plan import MLComputePlan

        plan = MLComputePlan.load_from_path(self.model.get_compiled_model_path())
        operations = plan.model_structure.program.functions["main"].block.operations
        usages = filter(None, map(plan.get_compute_device_usage_for_mlprogram_operation, operations))
        kinds = (type(usage.preferred_compute_device).__name__ for usage in usages)
        return [kind[2:] if kind.startswith("ML") else kind for kind in kinds]


def _is_image(feature: Any) -> bool:
    return feature.type.WhichOneof("Type") == "imageType"


def _taken(feature: Any) -> tuple[tuple[int, ...], str]:
    if _is_image(feature):
        return (1, feature.type.imageType.height, feature.type.imageType.width, 3), "uint8"
    return tuple(feature.type.multiArrayType.shape), "float32"


def _picture(frame: np.ndarray) -> Any:
    """The picture that ``predict`` takes for a pixel buffer, from uint8 [1, S, S, 3]."""
    from PIL import Image

    return Image.fromarray(frame[0])


def _pixels(picture: Any) -> np.ndarray:
    """uint8 [1, S, S, C] of a picture; Core ML gives RGB with an alpha channel."""
    grey = picture.mode == "L"
    pixels = np.asarray(picture if grey else picture.convert("RGB"), np.uint8)
    return pixels.reshape(1, *picture.size[::-1], 1 if grey else 3)
