"""A ``.tflite`` in LiteRT (``ai_edge_litert``) or in the older ``tflite_runtime``."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import extras
from mfs_edge.base.errors import InputError, MissingDependency

from . import delegate, validate

RUNTIMES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}  # module: distribution


def needs() -> tuple[str, ...]:
    """The module that runs artefacts here; LiteRT's where none is installed."""
    return (_installed() or next(iter(RUNTIMES)),)


def _installed() -> str | None:
    return next((module for module in RUNTIMES if extras.available(module)), None)


class TfliteRunner:
    """An interpreter with XNNPACK, its runtime's default.

    Attributes:
        artefact: the checked file.
        runtime: name and version of what runs it.
    """

    def __init__(self, path: Path, *, threads: int | None) -> None:
        self.artefact = validate.load(path)
        module = _installed()
        if module is None:
            raise MissingDependency(
                "running a .tflite needs ai-edge-litert (or tflite-runtime on old devices); "
                "install it with: pip install 'mfs-edge[tflite]'"
            )
        self.runtime = f"{RUNTIMES[module]} {importlib.metadata.version(RUNTIMES[module])}"
        self._interpreter = _interpreter(module, self.artefact.data, path, threads)
        self._input = self.artefact.inputs[validate.IMAGE]

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """``image`` (float32 [1, 3, S, S] in 0..1) as the file takes it: NHWC, float32 or uint8."""
        tensor = self.artefact.tensor(self._input)
        pixels = np.ascontiguousarray(np.asarray(image, np.float32).transpose(0, 2, 3, 1))
        if pixels.shape != tensor.shape:
            size = tensor.shape[1]
            raise InputError(f"the image is {list(image.shape)}; this file takes [1, 3, {size}, {size}]")
        if tensor.dtype == "uint8":
            return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
        return pixels

    def invoke(self, prepared: np.ndarray) -> None:
        """Run on what :meth:`prepare` made; this alone is the model's latency."""
        self._interpreter.set_tensor(self._input, prepared)
        self._interpreter.invoke()

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self.invoke(self.prepare(image))
        return {name: self._output(index) for name, index in self.artefact.outputs.items()}

    def _output(self, index: int) -> np.ndarray:
        found = self._interpreter.get_tensor(index)
        real = found.astype(np.float32) / np.float32(255) if found.dtype == np.uint8 else found
        return np.ascontiguousarray(real.transpose(0, 3, 1, 2))

    def execution(self) -> str:
        """What XNNPACK takes, and how many operators compute on integers."""
        taken = self.coverage
        tensors, operators = self.artefact.model.tensors, self.artefact.model.operators
        integer = sum(tensors[operator.outputs[0]].dtype == "int8" for operator in operators)
        types = f"{integer} of them on int8" if integer else "on float32"
        return f"{self.runtime}: {taken.delegated} of {taken.nodes} operators in XNNPACK, {types}"

    @functools.cached_property
    def coverage(self) -> delegate.Coverage:
        """How much of the file runs inside XNNPACK."""
        return delegate.coverage(self._interpreter, self.artefact.model, runtime=self.runtime)

    @property
    def warnings(self) -> list[str]:
        """What a user should know of this file on this runtime."""
        warning = self.coverage.warning()
        return [] if warning is None else [warning]


@contextlib.contextmanager
def _without_info_lines() -> Iterator[None]:
    """Drop "INFO: Created TensorFlow Lite XNNPACK delegate": C++ writes it, and no setting stops it.

    Everything else that reaches the process's standard error meanwhile is passed on.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            caught.seek(0)
            os.write(2, b"".join(line for line in caught if not line.startswith(b"INFO:")))
            os.close(terminal)


def _interpreter(module: str, data: bytes, path: Path, threads: int | None) -> Any:
    runtime = extras.require(f"{module}.interpreter", "tflite")
    try:
        with _without_info_lines():
            interpreter = runtime.Interpreter(model_content=data, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"{path}: {RUNTIMES[module]} cannot run it ({reason}); compile it again, or update the runtime"
        ) from error
    return interpreter
