"""The WebAssembly in wasmtime: as a browser runs it, without one.

It stands alone (numpy, wasmtime, Python 3.9), so that it can travel to a device; see
``mfs_edge.target.Engine`` for what its methods promise. A module imports nothing and is given nothing: whatever it
computes stays in its own memory. One thread computes, as in a browser.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

SIMD, RELAXED = "idn.wasm", "idn-relaxed.wasm"
PLANES, RGB8 = 0, 1  # of idn_format
MOST_MEMORY = 2**30
# How far the two modules may be apart: without rounding to codes they differ in the last bits of floats only.
APART = {"fp32": 1e-4, "fp16": 1e-4, "int8": 0.1}


class Engine:
    """One model in one instance, on the module that browsers with relaxed SIMD take."""

    PACKAGE = "wasmtime"
    MODULES = ("wasmtime",)
    title = "wasmtime"
    threads = 1

    def __init__(self, path: str, threads: int = 0, profile: bool = False, module: str = RELAXED) -> None:
        import wasmtime

        self.version = importlib.metadata.version("wasmtime")
        self.folder = Path(path)
        self.about: dict[str, Any] = json.loads((self.folder / "idn.json").read_text("utf-8"))
        self._start(wasmtime, module)
        self.weights = (self.folder / "idn.weights").read_bytes()
        self._put("weights", self.weights)
        self._check(self._call("open"))
        size, self.bytes = self.about["size"], self.about["io"] == "uint8"
        self._call("use", RGB8 if self.bytes else PLANES)
        self.type = np.uint8 if self.bytes else np.float32
        self.shape = (1, size, size, 3) if self.bytes else (1, 3, size, size)
        self.masks = (1, size, size, 1) if self.bytes else (1, 1, size, size)
        self.inputs = {"image": (self.shape, np.dtype(self.type).name)}
        self.profile, self.times, self.frames = profile, {}, 0  # type: ignore[var-annotated]

    def _start(self, wasmtime: Any, module: str) -> None:
        config = wasmtime.Config()
        config.wasm_relaxed_simd = True
        self.store = wasmtime.Store(wasmtime.Engine(config))
        self.store.set_limits(memory_size=MOST_MEMORY)
        compiled = wasmtime.Module.from_file(self.store.engine, str(self.folder / module))
        self.exports = wasmtime.Instance(self.store, compiled, []).exports(self.store)

    def feed(self, feeds: dict[str, Any]) -> None:
        (image,) = feeds.values()
        held = np.ascontiguousarray(image, self.type)
        if held.shape != self.shape:
            raise ValueError(f"takes {self.shape}, not {held.shape}")
        self._put("image", held)

    def infer(self) -> None:
        if self.profile:
            return self._by_stage()
        return self._check(self._call("run"))

    def fetch(self) -> dict[str, Any]:
        return {"swapped": self._get("swapped", self.shape), "mask": self._get("mask", self.masks)}

    def coverage(self) -> None:
        """Everything is compiled."""

    def layers(self) -> list[dict[str, Any]]:
        """By running the stages one by one."""
        return [
            {"name": name, "kind": "stage", "ms": 1000 * seconds / self.frames} for name, seconds in self.times.items()
        ]

    def execution(self) -> str:
        """Both modules: what browsers without relaxed SIMD take computes the same frame, or this raises."""
        plain = Engine(str(self.folder), module=SIMD)
        plain._put("image", self._get("image", self.shape))
        plain.infer()
        mine, other = self.fetch(), plain.fetch()
        scale = 255 if self.bytes else 1
        apart = (
            max(float(np.abs(np.subtract(mine[name], other[name], dtype=np.float64)).max()) for name in mine) / scale
        )
        if not apart <= APART[self.about["precision"]] + (1 / 255 if self.bytes else 0):
            raise RuntimeError(f"{SIMD} and {RELAXED} give pictures that are {apart:.1g} apart")
        return f"{self.about['precision']} on relaxed SIMD; on SIMD alone the same within {apart:.0e} of 1"

    def switch(self, contents: dict[str, bytes]) -> None:
        """The artefact with another identity in its weights; ``contents`` are its files, by their names."""
        (weights,) = (data for name, data in contents.items() if name.endswith("idn.weights"))
        if len(weights) != len(self.weights):
            raise ValueError(f"idn.weights has {len(weights)} bytes, not {len(self.weights)}")
        size = int(self._call("identity_bytes"))
        self._put("weights", weights[-size:], offset=len(weights) - size)
        self._check(self._call("set_identity"))

    def _by_stage(self) -> None:
        for stage in range(self.about["stages"]):
            started = time.perf_counter()
            self._check(self._call("run_stage", stage))
            spent = time.perf_counter() - started
            if self.frames:  # the first frame is not steady
                name = self._text(self._call("stage_at"))
                self.times[name] = self.times.get(name, 0.0) + spent
        self.frames += 1

    def _call(self, name: str, *given: int) -> Any:
        return self.exports[name](self.store, *given)

    def _put(self, place: str, data: Any, offset: int = 0) -> None:
        held = np.frombuffer(data, np.uint8)
        self._memory()[self._at(place, held.size) + offset :][: held.size] = held

    def _get(self, place: str, shape: tuple[int, ...]) -> Any:
        size = int(np.prod(shape)) * np.dtype(self.type).itemsize
        begin = self._at(place, size)
        return self._memory()[begin : begin + size].copy().view(self.type).reshape(shape)

    def _at(self, place: str, size: int) -> int:
        """Where it begins; a module says so itself, and may be damaged."""
        begin = int(self._call(place))
        if not 0 <= begin <= self._memory().size - size:
            raise ValueError(f"{place} lies outside of the module's memory")
        return begin

    def _memory(self) -> Any:
        """All of it; asked for anew each time, as a module that is not ours may let it grow."""
        memory = self.exports["memory"]
        pointer = ctypes.cast(memory.data_ptr(self.store), ctypes.c_void_p).value
        held = (ctypes.c_uint8 * memory.data_len(self.store)).from_address(pointer or 0)
        return np.frombuffer(held, np.uint8)

    def _text(self, place: Any) -> str:
        begin = int(place)
        return bytes(self._memory()[begin : begin + 200]).split(b"\0")[0].decode("ascii", "replace")

    def _check(self, status: Any) -> None:
        if status:
            raise RuntimeError(self._text(self._call("error", int(status))))
