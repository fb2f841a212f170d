"""OpenVINO's CPU device: the one place where a model is compiled for it.

It stands alone (numpy and openvino, Python 3.9), so that it can travel to a device; see
``mfs_edge.target.Engine`` for what its methods promise.
"""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

DEVICE = "CPU"
# Without this, CPUs with bf16 or fp16 arithmetic use it unasked (AMX, AVX512-BF16, Arm):
# OpenVINO's INFERENCE_PRECISION_HINT defaults to the fastest type that the CPU has.
PRECISION = "f32"
HINTS = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": PRECISION}
_CORES: list[Any] = []
_ONE_AT_A_TIME = threading.Lock()


def core() -> Any:
    """The process's one ``Core``, never let go.

    On CPUs with AMX each one gives the thread a stack for signal handlers, and frees it when it goes. When the first
    of two goes first, what the second then puts back is freed memory, and the next signal, a Ctrl-C, ends the process
    without a word (openvinotoolkit/openvino#11894).
    """
    import openvino

    with _ONE_AT_A_TIME:
        if not _CORES:
            _CORES.append(openvino.Core())
    return _CORES[0]


class Engine:
    """A model compiled for latency, in float32 where it is not on integers, and one inference request.

    Attributes:
        unpinned: what this CPU would compute in, had it not been told.
    """

    PACKAGE = "openvino"
    MODULES = ("openvino",)
    title = "OpenVINO"

    def __init__(self, path: str, threads: int = 0, profile: bool = False) -> None:
        import openvino

        self.version = str(openvino.get_version()).split("-")[0]
        self.file = Path(path).name
        self.unpinned = _spell(core().get_property(DEVICE, "INFERENCE_PRECISION_HINT"))
        config: dict[str, Any] = {**HINTS, "PERF_COUNT": profile}
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        self.config = config
        self.compiled = core().compile_model(core().read_model(path), DEVICE, config)
        self.precision = _spell(self.compiled.get_property("INFERENCE_PRECISION_HINT"))
        if self.precision != PRECISION:
            raise RuntimeError(f"it computes in {self.precision} on this CPU though {PRECISION} was asked")
        self.request = self.compiled.create_infer_request()
        self.inputs = {
            port.get_any_name(): (tuple(port.shape), port.get_element_type().to_dtype().name)
            for port in self.compiled.inputs
        }
        self.tensor = openvino.Tensor
        self.feeds: dict[str, Any] = {}
        self.totals: dict[str, list[Any]] = {}
        self.profile, self.frames = profile, 0

    def switch(self, contents: dict[str, bytes]) -> None:
        """The artefact with other numbers in it, read from memory; the old request goes on until then."""
        weights = str(Path(self.file).with_suffix(".bin"))
        model = core().read_model(contents[self.file], contents[weights])
        self.compiled = core().compile_model(model, DEVICE, self.config)
        self.request = self.compiled.create_infer_request()
        self.feed(self.feeds)

    def feed(self, feeds: dict[str, Any]) -> None:
        self.feeds = feeds
        for name, value in feeds.items():
            self.request.set_tensor(name, self.tensor(value))

    def infer(self) -> None:
        self.request.infer()
        self.frames += 1
        if self.profile and self.frames > 1:  # the first frame is not steady
            self._note()

    def fetch(self) -> dict[str, Any]:
        return {port.get_any_name(): self.request.get_tensor(port).data.copy() for port in self.compiled.outputs}

    def coverage(self) -> None:
        """One device runs everything."""

    def layers(self) -> list[dict[str, Any]]:
        """By OpenVINO's performance counters."""
        steady = max(1, self.frames - 1)
        return [{"name": name, "kind": kind, "ms": ms / steady} for name, (kind, ms) in self.totals.items()]

    def _note(self) -> None:
        for info in self.request.get_profiling_info():
            if "EXECUTED" in str(info.status) and "NOT" not in str(info.status):
                entry = self.totals.setdefault(info.node_name, [info.node_type, 0.0])
                entry[1] += info.real_time.total_seconds() * 1000

    def execution(self) -> str:
        """From the compiled model's own graph: its convolutions by the type they compute on."""
        layers = [operation.get_rt_info() for operation in self.compiled.get_runtime_model().get_ops()]
        kinds = Counter(
            _text(layer["runtimePrecision"]) for layer in layers if _text(layer["layerType"]) == "Convolution"
        )
        parts = (f"{count} on {kind}" for kind, count in sorted(kinds.items()))
        return f"convolutions {', '.join(parts)}, the rest on up to {self.precision}"


def _spell(kind: Any) -> str:
    """``f32`` for OpenVINO's ``<Type: 'float32'>``."""
    name = kind.get_type_name() if hasattr(kind, "get_type_name") else str(kind)
    return {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}.get(name, name)


def _text(entry: Any) -> str:
    """The word in an entry of OpenVINO's runtime information."""
    return str(getattr(entry, "value", entry))
