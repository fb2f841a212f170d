"""Runs one model on one runtime, a burst at a time; needs only that runtime and numpy.

Arguments: which runtime (a key of ``RUNTIMES``), the model, the image (.npy, float32
[1, 3, S, S] in 0..1), threads, and where to write what the model makes of it (.npy, the swapped
picture). Prints a JSON line {"runtime": ...} when ready; from then on, for each line read (a
number of frames), a JSON list of the milliseconds that each took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Call = Callable[[], Any]
Loaded = tuple[Call, Callable[[Any], np.ndarray], str]  # one frame; the picture in its result; the version


def onnxruntime(path: str, image: np.ndarray, threads: int) -> Loaded:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # A waiting pool would spin on the core that the next contender needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(["swapped"], {"image": image}), lambda found: found[0], ort.__version__


def openvino(path: str, image: np.ndarray, threads: int) -> Loaded:
    import openvino as ov

    core = ov.Core()
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    request = core.compile_model(core.read_model(path), "CPU", config).create_infer_request()
    call = lambda: request.infer({"image": image}, share_inputs=True)  # noqa: E731
    return call, lambda found: np.array(found["swapped"]), ov.get_version().split("-")[0]


def litert(path: str, image: np.ndarray, threads: int) -> Loaded:
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    last = entry["shape"][-1] == 3
    interpreter.set_tensor(entry["index"], np.ascontiguousarray(image.transpose(0, 2, 3, 1)) if last else image)

    def picture(_: Any) -> np.ndarray:
        found = [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]
        (swapped,) = (output for output in found if 3 in (output.shape[1], output.shape[-1]))
        return swapped if swapped.shape[1] == 3 else swapped.transpose(0, 3, 1, 2)

    return interpreter.invoke, picture, getattr(ai_edge_litert, "__version__", "")


def executorch(path: str, image: np.ndarray, threads: int) -> Loaded:
    import torch
    from executorch.extension.pybindings import portable_lib  # type: ignore[import-not-found]
    from executorch.runtime import Runtime  # type: ignore[import-not-found]

    portable_lib._unsafe_reset_threadpool(threads)  # there is no public way from Python
    method = Runtime.get().load_program(path).load_method("forward")
    given = [torch.from_numpy(image)]
    return lambda: method.execute(given), lambda found: found[0].numpy(), ""


def mnn(path: str, image: np.ndarray, threads: int) -> Loaded:
    import MNN.expr as expr  # type: ignore[import-not-found]
    from MNN import nn

    manager = nn.create_runtime_manager(({"backend": "CPU", "numThread": threads, "precision": "high"},))
    module = nn.load_module_from_file(path, ["image"], ["swapped", "mask"], runtime_manager=manager)
    given = expr.placeholder(list(image.shape), expr.NCHW)
    given.write(image)

    def call() -> Any:
        found = module.forward([given])
        return [expr.convert(output, expr.NCHW).read() for output in found]  # reading makes it compute

    return call, lambda found: np.array(found[0]), ""


def ncnn(path: str, image: np.ndarray, threads: int) -> Loaded:
    import ncnn as runtime  # type: ignore[import-not-found]

    net = runtime.Net()
    net.opt.num_threads = threads
    for narrow in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, narrow, False)  # everybody computes in float32 here
    net.load_param(path)
    net.load_model(path.removesuffix(".param") + ".bin")
    given = runtime.Mat(image[0]).clone()  # a Mat of an array does not keep it alive
    names = net.output_names()

    def call() -> Any:
        with net.create_extractor() as extractor:
            extractor.input(net.input_names()[0], given)
            return [extractor.extract(name)[1] for name in names]

    def picture(found: Any) -> np.ndarray:
        arrays = [np.array(output) for output in found]
        return next(array for array in arrays if array.shape[0] == 3)[None]

    return call, picture, runtime.__version__


RUNTIMES: dict[str, Callable[[str, np.ndarray, int], Loaded]] = {
    "onnxruntime": onnxruntime,
    "OpenVINO": openvino,
    "LiteRT": litert,
    "ExecuTorch": executorch,
    "MNN": mnn,
    "ncnn": ncnn,
}


def main() -> None:
    kind, path, image, threads, out = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # some runtimes talk on standard output
    call, picture, version = RUNTIMES[kind](path, np.load(image), int(threads))
    np.save(out, picture(call()))
    answers.write(json.dumps({"runtime": f"{kind} {version}".strip()}) + "\n")
    for line in sys.stdin:
        taken = []
        for _ in range(int(line)):
            begin = time.perf_counter_ns()
            call()
            taken.append((time.perf_counter_ns() - begin) / 1e6)
        answers.write(json.dumps(taken) + "\n")


if __name__ == "__main__":
    main()
