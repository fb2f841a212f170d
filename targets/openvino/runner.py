"""The OpenVINO CPU device, set up for one frame at a time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfs_edge.base import extras
from mfs_edge.base.errors import CheckFailed, InputError

from . import ir_file

if TYPE_CHECKING:
    import numpy as np

DEVICE = "CPU"
OUTPUTS = ("swapped", "mask")
# Without this, CPUs with bf16 or fp16 arithmetic use it unasked (AMX, AVX512-BF16, Arm):
# OpenVINO's INFERENCE_PRECISION_HINT defaults to the fastest type that the CPU has.
PRECISION = "f32"


def config(threads: int | None) -> dict[str, Any]:
    """How the model is compiled."""
    chosen: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": PRECISION}
    return chosen if threads is None else {**chosen, "INFERENCE_NUM_THREADS": threads}


class OpenvinoRunner:
    """A compiled model and one inference request."""

    def __init__(self, path: Path, *, threads: int | None) -> None:
        openvino = extras.require("openvino", "openvino")
        ir_file.check_weights(path, ir_file.parse(path))
        self.version = f"OpenVINO {openvino.get_version().split('-')[0]}"
        core = openvino.Core()
        # Read before compiling, for the report: what an app gets that pins nothing.
        self.unpinned_precision = _spell(core.get_property(DEVICE, "INFERENCE_PRECISION_HINT"))
        try:
            self.compiled = core.compile_model(core.read_model(path), DEVICE, config(threads))
        except RuntimeError as error:
            raise InputError(f"{path}: OpenVINO cannot load it ({_first_reason(error)}); {ir_file.AGAIN}") from error
        self.precision = _spell(self.compiled.get_property("INFERENCE_PRECISION_HINT"))
        if self.precision != PRECISION:
            raise CheckFailed(
                f"{path}: OpenVINO computes in {self.precision} on this CPU though {PRECISION} was asked; "
                "results would not be those of the model: use another OpenVINO version"
            )
        self.threads = int(self.compiled.get_property("INFERENCE_NUM_THREADS"))
        self.takes_bytes = self.compiled.input("image").get_element_type() == openvino.Type.u8
        self.request = self.compiled.create_infer_request()

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        import numpy as np

        if not self.takes_bytes:
            self.request.infer({"image": np.ascontiguousarray(image, np.float32)}, share_inputs=True)
            return {name: self.request.get_tensor(name).data.copy() for name in OUTPUTS}
        frame = np.rint(image.transpose(0, 2, 3, 1) * 255).astype(np.uint8)
        self.request.infer({"image": np.ascontiguousarray(frame)}, share_inputs=True)
        outputs = {name: self.request.get_tensor(name).data for name in OUTPUTS}
        return {name: value.transpose(0, 3, 1, 2).astype(np.float32) / 255 for name, value in outputs.items()}

    def execution(self) -> str:
        """From the compiled model's own graph: its convolutions by the type they compute on."""
        layers = [operation.get_rt_info() for operation in self.compiled.get_runtime_model().get_ops()]
        kinds = Counter(
            _text(layer["runtimePrecision"]) for layer in layers if _text(layer["layerType"]) == "Convolution"
        )
        parts = (f"{count} on {kind}" for kind, count in sorted(kinds.items()))
        return f"{self.version}: convolutions {', '.join(parts)}, the rest on up to {self.precision}"

    def report(self) -> dict[str, Any]:
        """How it runs: device, threads, and the arithmetic with and without our pin."""
        return {
            "device": DEVICE,
            "threads": self.threads,
            "precision": self.precision,
            "precision_if_unpinned": self.unpinned_precision,
        }


def _spell(kind: Any) -> str:
    """``f32`` for OpenVINO's ``<Type: 'float32'>``."""
    name = kind.get_type_name() if hasattr(kind, "get_type_name") else str(kind)
    return {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}.get(name, name)


def _text(entry: Any) -> str:
    """The word in an entry of OpenVINO's runtime information."""
    return str(getattr(entry, "value", entry))


def _first_reason(error: Exception) -> str:
    """OpenVINO's own words, without the source positions around them."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith(("Exception from", "Check '"))), lines[0])[:200]
