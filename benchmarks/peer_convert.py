"""Converts the folded network, with ours or a peer's tools; runs in that peer's environment.

Arguments: by whom (a key of ``CONVERTERS``), weights (.safetensors, the IDN's official keys), the
plain torch.onnx.export of the same, size, the file to write. Prints one JSON line: who it was, and
the seconds from weights to file, imports aside.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
OUTPUTS = ["swapped", "mask"]


Convert = Callable[[], object]  # what is timed; imports lie before it


@dataclass(frozen=True)
class Job:
    """What to convert, and the file to write."""

    weights: str
    exported: str
    size: int
    out: Path


def ours(job: Job, precision: str = "") -> Convert:
    """Our compiler behind the fold; the file's suffix says which target."""
    from safetensors.numpy import load_file

    from mfs_edge import target
    from mfs_edge.graph import build, passes
    from mfs_edge.quantize import calibration, half, quantise

    backend = target.of_file(job.out)
    for module in (*backend.emit_needs, backend.engine):
        importlib.import_module(module)
    options = target.EmitOptions(precision=precision or backend.default_precision, io=backend.default_io)
    weights = load_file(job.weights)

    def convert() -> None:
        graph = passes.optimise(build.build(weights, size=job.size))
        if options.precision == "fp16":
            graph = half.prepare(graph)
        elif options.precision == "int8":
            graph = quantise(graph, calibration.load(None, job.size)).model
        backend.emit(graph, job.out, options)

    return convert


def network(job: Job) -> Any:
    """The plain network, as the authors' code has it, and a picture for tracing."""
    import torch
    from safetensors.torch import load_file

    from mfs_edge.networks.idn import IDN

    module = IDN()
    missing, unexpected = module.load_state_dict(load_file(job.weights), strict=False)
    # Batch norms count batches in training; the count is in no checkpoint.
    if unexpected or any(not key.endswith("num_batches_tracked") for key in missing):
        raise SystemExit(f"weights do not fit the network: missing {missing}, unexpected {unexpected}")
    torch.set_num_threads(1)  # tracing runs the network, and its threads fight on a busy machine
    torch.set_grad_enabled(False)
    return module.eval(), (torch.rand(1, 3, job.size, job.size),)


def torch_onnx(job: Job) -> Convert:
    """By the exporter based on torch.export where ``onnxscript`` is installed, else by that based on TorchScript."""
    import torch.onnx

    module, given = network(job)
    dynamo = importlib.util.find_spec("onnxscript") is not None
    options: dict[str, Any] = {"dynamo": dynamo, "opset_version": 18 if dynamo else 17, "external_data": False}
    options |= {"input_names": ["image"], "output_names": OUTPUTS}
    return lambda: torch.onnx.export(module, given, str(job.out), **options)


def ov_convert(job: Job) -> Convert:
    """What OpenVINO's documentation tells a PyTorch user to do, but with weights left in float32, as others' are."""
    import openvino as ov

    module, given = network(job)

    def convert() -> None:
        model = ov.convert_model(module, example_input=given[0], input=[1, 3, job.size, job.size])
        for port, name in zip(model.outputs, OUTPUTS, strict=True):
            port.get_tensor().set_names({name})
        ov.save_model(model, job.out, compress_to_fp16=False)

    return convert


def core_ml(job: Job) -> Convert:
    """What coremltools' documentation tells a PyTorch user to do: a traced module, images in and out, fp16."""
    import coremltools as ct
    import torch

    class ForImages(torch.nn.Module):
        """coremltools scales an input image, but not an output one."""

        network: Any

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            swapped, mask = self.network(image)
            return swapped * 255, mask

    wrapped = ForImages().eval()
    wrapped.network, given = network(job)

    def convert() -> None:
        ct.convert(
            torch.jit.trace(wrapped, given),  # type: ignore[no-untyped-call]
            inputs=[ct.ImageType(name="image", shape=(1, 3, job.size, job.size), scale=1 / 255)],
            outputs=[ct.ImageType(name="swapped"), ct.TensorType(name="mask")],
            minimum_deployment_target=ct.target.iOS16,
            skip_model_load=True,
        ).save(str(job.out))

    return convert


def executorch(job: Job) -> Convert:
    """With XNNPACK."""
    import torch
    from executorch.backends.xnnpack.partition import xnnpack_partitioner  # type: ignore[import-not-found]
    from executorch.exir import to_edge_transform_and_lower  # type: ignore[import-not-found]

    module, given = network(job)

    def convert() -> None:
        program = torch.export.export(module, given)
        lowered = to_edge_transform_and_lower(program, partitioner=[xnnpack_partitioner.XnnpackPartitioner()])
        job.out.write_bytes(lowered.to_executorch().buffer)

    return convert


def litert_torch(job: Job) -> Convert:
    import litert_torch as peer  # type: ignore[import-not-found]

    module, given = network(job)
    return lambda: peer.convert(module, given).export(str(job.out))


def mnn(job: Job) -> Convert:
    tool = str(Path(sys.executable).parent / "mnnconvert")
    return lambda: call(
        tool, "-f", "ONNX", "--modelFile", job.exported, "--MNNModel", str(job.out), "--bizCode", "peer"
    )


def ncnn(job: Job) -> Convert:
    """Two files: the one named is the .param, its weights lie beside it as .bin."""
    import pnnx  # type: ignore[import-not-found]

    def convert() -> None:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(job.exported, Path(folder) / "idn.onnx")
            call(pnnx.EXEC_PATH, "idn.onnx", f"inputshape=[1,3,{job.size},{job.size}]", "fp16=0", folder=folder)
            for suffix in (".param", ".bin"):
                shutil.move(Path(folder) / f"idn.ncnn{suffix}", job.out.with_suffix(suffix))

    return convert


def iree(job: Job) -> Convert:
    """For this machine's CPU, with the data tiling that its documentation recommends for speed."""
    tools = Path(sys.executable).parent
    target = ("--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu")

    def convert() -> None:
        with tempfile.TemporaryDirectory() as folder:
            module = str(Path(folder) / "idn.mlir")
            call(str(tools / "iree-import-onnx"), job.exported, "--opset-version", "17", "-o", module)
            tuned = (*target, "--iree-llvmcpu-target-cpu=host", "--iree-opt-data-tiling")
            call(str(tools / "iree-compile"), module, *tuned, "-o", str(job.out))

    return convert


def emx(job: Job) -> Convert:
    """C, then what this machine's compiler makes of it; its code asks the heap for every tensor."""
    tool = str(Path(sys.executable).parent / "emx-onnx-cgen")

    def convert() -> None:
        with tempfile.TemporaryDirectory() as folder:
            source = str(Path(folder) / "idn.c")
            call(tool, "compile", job.exported, source, "--model-name", "idn", "--large-weight-threshold", "0")
            call("cc", "-O3", "-march=native", "-shared", "-fPIC", source, "-o", str(job.out), "-lm")

    return convert


def call(*command: str, folder: str | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise SystemExit(f"exit code {done.returncode}: {lines[-1] if lines else 'no message'}")


# With the distribution whose version is told.
CONVERTERS: dict[str, tuple[Callable[[Job], Convert], str]] = {
    "mfs-edge": (ours, ""),
    "mfs-edge-int8": (lambda job: ours(job, "int8"), ""),
    "torch.onnx.export": (torch_onnx, "torch"),
    "ov.convert_model": (ov_convert, "openvino"),
    "coremltools.convert": (core_ml, "coremltools"),
    "executorch": (executorch, "executorch"),
    "litert-torch": (litert_torch, "litert-torch"),
    "MNN": (mnn, "MNN"),
    "ncnn": (ncnn, "ncnn"),
    "IREE": (iree, "iree-base-compiler"),
    "emx-onnx-cgen": (emx, "emx-onnx-cgen"),
}


def main() -> None:
    kind, weights, exported, size, out = sys.argv[1:]
    prepare, distribution = CONVERTERS[kind]
    convert = prepare(Job(weights, exported, int(size), Path(out)))
    gc.collect()
    gc.freeze()  # what was imported is no garbage of the converter
    begin = time.perf_counter()
    convert()
    seconds = time.perf_counter() - begin
    name = f"{kind} {metadata.version(distribution)}" if distribution else kind
    sys.stdout.write(json.dumps({"name": name, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
