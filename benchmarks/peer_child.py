"""Runs one model on one runtime, a burst of frames at a time; needs only that runtime and numpy.

Arguments: what runs it (the path of a target's engine.py, or a key of ``PEERS``), the model,
pictures (.npy, float32 [N, 3, S, S] in 0..1), threads, and where to write what it makes of them
(.npz of "swapped" [N, 1, 3, S, S] and, from ours, "mask" [N, 1, 1, S, S]). Prints a JSON line {"runtime": ...,
"coverage": ...} when ready; from then on, for each line read (a number of frames), a JSON list of the
[wall, processor] milliseconds that each took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from mfs_edge.base import frames
from mfs_edge.measure import runner

Outputs = dict[str, np.ndarray]


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor milliseconds of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)


class Ours:
    """A target's engine (see ``mfs_edge.target.Engine``), by the path of its file; ``infer`` is what is timed."""

    def __init__(self, engine: str, path: str, threads: int) -> None:
        self.engine: Any = runner.engine(engine)(path, threads)
        self.infer = self.engine.infer
        self.said = {"runtime": f"{self.engine.title} {self.engine.version}", "coverage": self.engine.coverage()}

    def run(self, image: np.ndarray) -> Outputs:
        ((name, (shape, dtype)),) = self.engine.inputs.items()
        self.engine.feed({name: frames.as_taken(image, shape, dtype)})
        self.infer()
        return frames.as_told(self.engine.fetch())


class Peer:
    """A runtime that no target of ours writes for: ``call`` takes a fed picture and gives the swapped one."""

    def __init__(self, kind: str, path: str, threads: int) -> None:
        self.feed, self.call, name = PEERS[kind](path, threads)
        self.said = {"runtime": name, "coverage": None}
        self.fed: Any = None

    def infer(self) -> Any:
        return self.call(self.fed)

    def run(self, image: np.ndarray) -> Outputs:
        self.fed = self.feed(image)
        return {"swapped": np.array(self.infer(), np.float32).reshape(image.shape)}


Loaded = tuple[Callable[[np.ndarray], Any], Callable[[Any], Any], str]


def executorch(path: str, threads: int) -> Loaded:
    import torch
    from executorch.extension.pybindings import portable_lib  # type: ignore[import-not-found]
    from executorch.runtime import Runtime  # type: ignore[import-not-found]

    portable_lib._unsafe_reset_threadpool(threads)  # there is no public way from Python
    method = Runtime.get().load_program(path).load_method("forward")
    return lambda image: [torch.from_numpy(image)], lambda given: method.execute(given)[0], "ExecuTorch"


def mnn(path: str, threads: int) -> Loaded:
    import MNN.expr as expr  # type: ignore[import-not-found]
    from MNN import nn

    manager = nn.create_runtime_manager(({"backend": "CPU", "numThread": threads, "precision": "high"},))
    module = nn.load_module_from_file(path, ["image"], ["swapped", "mask"], runtime_manager=manager)

    def feed(image: np.ndarray) -> Any:
        given = expr.placeholder(list(image.shape), expr.NCHW)
        given.write(image)
        return given

    def call(given: Any) -> Any:
        found = [expr.convert(each, expr.NCHW).read() for each in module.forward([given])]  # reading computes
        return found[0]

    return feed, call, "MNN"


def ncnn(path: str, threads: int) -> Loaded:
    import ncnn as runtime  # type: ignore[import-not-found]

    net = runtime.Net()
    net.opt.num_threads = threads
    for narrow in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, narrow, False)  # everybody computes in float32 here
    net.load_param(path)
    net.load_model(path.removesuffix(".param") + ".bin")

    def call(given: Any) -> Any:
        with net.create_extractor() as extractor:
            extractor.input(net.input_names()[0], given)
            outputs = [extractor.extract(name)[1] for name in net.output_names()]
        return next(output for output in outputs if output.c == 3)

    # A Mat of an array does not keep it alive.
    return lambda image: runtime.Mat(image[0]).clone(), call, f"ncnn {runtime.__version__}"


def iree(path: str, threads: int) -> Loaded:
    import iree.runtime as runtime  # type: ignore[import-not-found]

    runtime.flags.parse_flags(f"--task_topology_max_group_count={threads}")
    module = runtime.load_vm_flatbuffer_file(path, driver="local-sync" if threads == 1 else "local-task")
    name = next(name for name in module.vm_module.function_names if "$" not in name and name != "__init")
    function = module[name]

    def call(given: Any) -> Any:
        return next(np.asarray(each) for each in function(given))  # reading waits for it

    return lambda image: image, call, f"IREE, {'local-sync' if threads == 1 else 'local-task'}"


def emx(path: str, threads: int) -> Loaded:
    import ctypes

    if threads != 1:
        raise RuntimeError("its C has no threads")
    library = ctypes.CDLL(path)

    def call(given: np.ndarray) -> np.ndarray:
        swapped, mask = np.empty_like(given), np.empty((1, 1, *given.shape[2:]), np.float32)
        library.idn(*(ctypes.c_void_p(array.ctypes.data) for array in (given, swapped, mask)))
        return swapped

    return np.ascontiguousarray, call, "emx-onnx-cgen's C"


PEERS: dict[str, Callable[[str, int], Loaded]] = {
    "ExecuTorch": executorch,
    "MNN": mnn,
    "ncnn": ncnn,
    "IREE": iree,
    "emx-onnx-cgen": emx,
}


def main() -> None:
    kind, path, images, threads, out = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # some runtimes talk on standard output
    loaded = (Peer if kind in PEERS else Ours)(kind, path, int(threads))
    outputs = [loaded.run(image[None]) for image in np.load(images)]
    stacked: dict[str, Any] = {name: np.stack([each[name] for each in outputs]) for name in outputs[0]}
    np.savez(out, **stacked)
    answers.write(json.dumps(loaded.said) + "\n")
    for line in sys.stdin:
        answers.write(json.dumps([timed(loaded.infer) for _ in range(int(line))]) + "\n")


if __name__ == "__main__":
    main()
