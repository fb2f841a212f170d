"""Core ML itself, on macOS."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfs_edge.base import extras
from mfs_edge.base.errors import InputError, MissingDependency

from . import package, tools

if TYPE_CHECKING:
    import numpy as np

PEAK = 255


def unrunnable() -> str | None:
    """None where Core ML exists."""
    return None if sys.platform == "darwin" else "not run: needs macOS"


class CoremlRunner:
    """A compiled model, on whichever units Core ML prefers."""

    def __init__(self, path: Path) -> None:
        spec = package.read(path)
        reason = unrunnable()
        if reason is not None:
            raise MissingDependency(f"{path}: {reason}; copy the package to a Mac and run the same command there")
        ct = tools.require()
        features = (*spec.description.input, *spec.description.output)
        self.images = {feature.name for feature in features if feature.type.WhichOneof("Type") == "imageType"}
        self.outputs = [feature.name for feature in spec.description.output]
        try:
            with tools.quiet():
                self.model = ct.models.MLModel(str(path), compute_units=ct.ComputeUnit.ALL)
                self.compiled = self.model.get_compiled_model_path()
        except Exception as error:  # Core ML's own errors share no base
            raise InputError(f"{path}: Core ML cannot load it ({error}); {package.AGAIN}") from error

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        given = _to_picture(image) if "image" in self.images else image
        results = self.model.predict({"image": given})
        return {name: self._from_result(name, results[name]) for name in self.outputs}

    def execution(self) -> str:
        """The units that Core ML prefers, by operators."""
        units = ", ".join(f"{count} operators on {unit}" for unit, count in self.report()["units"].items())
        return f"Core ML: {units}"

    def _from_result(self, name: str, result: Any) -> np.ndarray:
        import numpy as np

        if name not in self.images:
            return np.asarray(result, np.float32)
        channels = "L" if name == "mask" else "RGB"
        pixels = np.asarray(result.convert(channels), np.float32).reshape(*result.size[::-1], len(channels))
        return pixels.transpose(2, 0, 1)[None] / PEAK

    def report(self) -> dict[str, Any]:
        """Which unit Core ML prefers for each operator (MLComputePlan, macOS 14.4 on)."""
        from coremltools.models.compute_plan import MLComputePlan

        plan = MLComputePlan.load_from_path(self.compiled)
        usages = {
            operation.outputs[0].name: plan.get_compute_device_usage_for_mlprogram_operation(operation)
            for operation in plan.model_structure.program.functions["main"].block.operations
        }
        units = {name: _unit(usage.preferred_compute_device) for name, usage in usages.items() if usage is not None}
        return {"units": dict(Counter(units.values())), "operators": units}


def _unit(device: Any) -> str:
    """``NeuralEngine`` for an ``MLNeuralEngineComputeDevice``."""
    return type(device).__name__.removeprefix("ML").removesuffix("ComputeDevice")


def _to_picture(image: np.ndarray) -> Any:
    """The RGB picture that ``predict`` takes for a pixel buffer, from [1, 3, S, S] in 0..1."""
    import numpy as np

    pillow = extras.require("PIL.Image", tools.EXTRA)
    return pillow.fromarray(np.rint(image[0].transpose(1, 2, 0) * PEAK).astype(np.uint8))
