"""Measure one artefact in this process; the one file that travels to a device.

It stands alone on purpose: numpy and the artefact's runtime are all it imports, and it runs
under Python 3.9. It is what ``--device local`` runs too, always as a fresh process, so that
nothing of an earlier measurement (heaps, thread pools, caches) is in the figures.

    python runner.py ARTEFACT [--threads N] [--runs N] [--warmup N] ...

Every line it prints starts with ``@mfs-edge `` and holds one JSON object, told apart by
``event``: ``progress`` (``done`` in 0..1, ``left_s``), then ``result`` or ``error``. What a
runtime prints by itself has no such prefix. Times are wall-clock milliseconds per frame.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

PREFIX = "@mfs-edge "
TELL_EVERY = 0.2  # s between progress lines; they are printed between frames, never within one
PROFILED_FRAMES = 20
ENGINES: dict[str, Any] = {}  # suffix -> class


class Failure(Exception):
    """What the caller should hear: ``kind`` is "missing" (a module) or "input" (the file)."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def emit(event: str, **fields: Any) -> None:
    """One line for the caller."""
    sys.stdout.write(PREFIX + json.dumps(dict(fields, event=event)) + "\n")
    sys.stdout.flush()


def engine(suffix: str) -> Callable[[Any], Any]:
    """Register the class that runs files of this name."""

    def register(cls: Any) -> Any:
        ENGINES[suffix] = cls
        return cls

    return register


def require(modules: Sequence[str], package: str) -> Any:
    """The first of ``modules`` that is installed."""
    reasons = []
    for name in modules:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            reasons.append(str(error))
    how = f"install it with: pip install {package}"
    raise Failure("missing", f"{modules[0]} cannot be imported ({reasons[0]}); {how}")


def version(distribution: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def frame(shape: Sequence[Any], dtype: Any) -> Any:
    """Any picture: uniform noise in the range that the input takes."""
    import numpy as np

    sizes = [size if isinstance(size, int) and size > 0 else 1 for size in shape]
    noise = np.random.default_rng(0).random(sizes, dtype=np.float32)
    if np.issubdtype(np.dtype(dtype), np.floating):
        return noise.astype(dtype)
    limits = np.iinfo(dtype)
    return (limits.min + noise * (float(limits.max) - limits.min)).astype(dtype)


@engine(".onnx")
class Onnx:
    """onnxruntime, CPU."""

    NEEDS = (["onnxruntime"], "onnxruntime")
    TYPES: ClassVar = {
        "tensor(float)": "float32",
        "tensor(float16)": "float16",
        "tensor(uint8)": "uint8",
        "tensor(int8)": "int8",
    }

    def __init__(self, path: str, threads: int, units: str | None, profile: str | None = None) -> None:
        self.ort = require(*self.NEEDS)
        self.runtime, self.version = "onnxruntime", self.ort.__version__
        options = self.ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        if profile:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(profile, "ort"))
        self.session = self.ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.feeds: dict[str, Any] = {}

    def prepare(self) -> None:
        self.feeds = {i.name: frame(i.shape, self.TYPES.get(i.type, "float32")) for i in self.session.get_inputs()}

    def infer(self) -> None:
        self.session.run(None, self.feeds)

    def coverage(self) -> dict[str, Any] | None:
        return None  # one execution provider runs everything

    @classmethod
    def layers(cls, path: str, threads: int, units: str | None) -> list[dict[str, Any]]:
        """Milliseconds per frame of every kernel, by onnxruntime's own profiler."""
        with tempfile.TemporaryDirectory() as folder:
            profiled = cls(path, threads, units, profile=folder)
            profiled.prepare()
            for _ in range(PROFILED_FRAMES + 1):
                profiled.infer()
            with Path(profiled.session.end_profiling()).open() as file:
                events = [e for e in json.load(file) if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
        totals: dict[str, list[Any]] = {}
        first = len(events) // (PROFILED_FRAMES + 1)  # of the first frame, which is not steady
        for event in events[first:]:
            name = event["name"][: -len("_kernel_time")]
            entry = totals.setdefault(name, [event["args"].get("op_name", "?"), 0.0])
            entry[1] += event["dur"] / 1000 / PROFILED_FRAMES
        return [{"name": name, "kind": kind, "ms": ms} for name, (kind, ms) in totals.items()]


@engine(".tflite")
class Tflite:
    """LiteRT, or the older tflite_runtime; XNNPACK, their default."""

    NEEDS = (["ai_edge_litert.interpreter", "tflite_runtime.interpreter"], "ai-edge-litert")

    def __init__(self, path: str, threads: int, units: str | None) -> None:
        module = require(*self.NEEDS)
        self.runtime = {"ai_edge_litert": "LiteRT", "tflite_runtime": "tflite_runtime"}[module.__name__.split(".")[0]]
        self.version = version(module.__name__.split(".")[0])
        self.interpreter = module.Interpreter(model_path=path, num_threads=threads)
        self.interpreter.allocate_tensors()
        self.inputs: list[tuple[int, Any]] = []

    def prepare(self) -> None:
        details = self.interpreter.get_input_details()
        self.inputs = [(entry["index"], frame([int(n) for n in entry["shape"]], entry["dtype"])) for entry in details]
        self.output = self.interpreter.get_output_details()

    def infer(self) -> None:
        for index, value in self.inputs:
            self.interpreter.set_tensor(index, value)
        self.interpreter.invoke()

    def coverage(self) -> dict[str, Any] | None:
        """How many nodes the delegate took, in how many pieces.

        The interpreter lists the nodes it replaced beside the DELEGATE nodes that replaced
        them; a piece is what lies between its DELEGATE node's inputs and outputs.
        """
        listed: list[dict[str, Any]] = getattr(self.interpreter, "_get_ops_details", list)()  # there is no public way
        nodes = [node for node in listed if node["op_name"] != "DELEGATE"]
        pieces = [node for node in listed if node["op_name"] == "DELEGATE"]
        producer = {int(out): i for i, node in enumerate(nodes) for out in node["outputs"]}
        taken: set[int] = set()
        for piece in pieces:
            stop = {int(index) for index in piece["inputs"]}
            todo = [int(index) for index in piece["outputs"]]
            while todo:
                tensor = todo.pop()
                if tensor in stop or tensor not in producer or producer[tensor] in taken:
                    continue
                taken.add(producer[tensor])
                todo.extend(int(index) for index in nodes[producer[tensor]]["inputs"] if index >= 0)
        outside = [str(node["op_name"]) for i, node in enumerate(nodes) if i not in taken]
        return {
            "delegate": "XNNPACK",
            "nodes": len(nodes),
            "delegated": len(taken),
            "partitions": len(pieces),
            "outside": outside,
        }

    @classmethod
    def layers(cls, path: str, threads: int, units: str | None) -> list[dict[str, Any]]:
        return []  # LiteRT's Python interpreter has no profiler


@engine(".xml")
class Openvino:
    """OpenVINO's CPU plugin, in the float32 that the artefact was proven in."""

    NEEDS = (["openvino"], "openvino")

    def __init__(self, path: str, threads: int, units: str | None, profile: bool = False) -> None:
        self.ov = require(*self.NEEDS)
        self.runtime, self.version = "OpenVINO", self.ov.__version__.split("-")[0]
        config = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "PERF_COUNT": profile,
        }
        core = self.ov.Core()
        self.compiled = core.compile_model(core.read_model(path), "CPU", config)
        self.request = self.compiled.create_infer_request()

    def prepare(self) -> None:
        for port in self.compiled.inputs:
            value = frame(list(port.shape), port.get_element_type().to_dtype())
            self.request.set_tensor(port, self.ov.Tensor(value))

    def infer(self) -> None:
        self.request.infer()

    def coverage(self) -> dict[str, Any] | None:
        return None

    @classmethod
    def layers(cls, path: str, threads: int, units: str | None) -> list[dict[str, Any]]:
        """Milliseconds per frame of every node that ran, by OpenVINO's performance counters."""
        profiled = cls(path, threads, units, profile=True)
        profiled.prepare()
        profiled.infer()
        totals: dict[str, list[Any]] = {}
        for _ in range(PROFILED_FRAMES):
            profiled.infer()
            for info in profiled.request.get_profiling_info():
                if "EXECUTED" in str(info.status) and "NOT" not in str(info.status):
                    entry = totals.setdefault(info.node_name, [info.node_type, 0.0])
                    entry[1] += info.real_time.total_seconds() * 1000 / PROFILED_FRAMES
        return [{"name": name, "kind": kind, "ms": ms} for name, (kind, ms) in totals.items()]


@engine(".mlpackage")
class Coreml:
    """Core ML on macOS, on the compute units asked for; it chooses its own threads."""

    NEEDS = (["coremltools"], "coremltools")
    UNITS: ClassVar = {"cpu": "CPU_ONLY", "gpu": "CPU_AND_GPU", "ane": "CPU_AND_NE", "all": "ALL"}

    def __init__(self, path: str, threads: int, units: str | None) -> None:
        self.ct = require(*self.NEEDS)
        self.runtime, self.version = "Core ML (%s)" % (units or "all"), platform.mac_ver()[0]
        kind = getattr(self.ct.ComputeUnit, self.UNITS[units or "all"])
        self.model = self.ct.models.MLModel(path, compute_units=kind)
        self.feeds: dict[str, Any] = {}

    def prepare(self) -> None:
        for feature in self.model.get_spec().description.input:
            if feature.type.WhichOneof("Type") == "imageType":
                image = require(["PIL.Image"], "pillow")
                size = (feature.type.imageType.height, feature.type.imageType.width, 3)
                self.feeds[feature.name] = image.fromarray(frame(size, "uint8"))
            else:
                self.feeds[feature.name] = frame(list(feature.type.multiArrayType.shape), "float32")

    def infer(self) -> None:
        self.model.predict(self.feeds)

    def coverage(self) -> dict[str, Any] | None:
        """Which unit Core ML prefers for how many operators (MLComputePlan, macOS 14.4 on)."""
        try:
            from coremltools.models.compute_plan import MLComputePlan
        except ImportError:
            return None
        plan = MLComputePlan.load_from_path(self.model.get_compiled_model_path())
        units = []
        for operation in plan.model_structure.program.functions["main"].block.operations:
            usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
            if usage is not None:
                units.append(type(usage.preferred_compute_device).__name__)
        outside = [unit for unit in units if "NeuralEngine" not in unit]
        pieces = sum(a != b and "NeuralEngine" in b for a, b in zip(["", *units], units))  # noqa: B905 (Python 3.9)
        return {
            "delegate": "Neural Engine",
            "nodes": len(units),
            "delegated": len(units) - len(outside),
            "partitions": pieces,
            "outside": outside,
        }

    @classmethod
    def layers(cls, path: str, threads: int, units: str | None) -> list[dict[str, Any]]:
        return []


def read(path: str | Path, default: str = "") -> str:
    """The text of a file of the kernel's, or ``default``."""
    try:
        with Path(path).open(errors="replace") as file:
            return file.read().strip("\0\n ")
    except OSError:
        return default


def cpu_model() -> str:
    """The board or CPU as its kernel calls it."""
    board = read("/proc/device-tree/model")
    entries = dict(line.split(":", 1) for line in read("/proc/cpuinfo").splitlines() if ":" in line)
    names = {key.strip(): value.strip() for key, value in entries.items()}
    if board or "model name" in names:
        return board or names["model name"]
    if sys.platform == "darwin":
        with os.popen("sysctl -n machdep.cpu.brand_string") as pipe:
            return pipe.read().strip()
    part = f"implementer {names.get('CPU implementer', '?')} part {names.get('CPU part', '?')}"
    return names.get("Hardware") or (part if "CPU part" in names else platform.processor() or platform.machine())


def governor() -> str:
    """Of all cores, or an empty string where the kernel does not tell."""
    found = {read(path) for path in Path("/sys/devices/system/cpu").glob("cpu*/cpufreq/scaling_governor")}
    return "/".join(sorted(found - {""}))


def temperature() -> float | None:
    """Degrees Celsius of the hottest zone; None where the device does not tell."""
    readings = [read(path) for path in Path("/sys/class/thermal").glob("thermal_zone*/temp")]
    degrees = [int(text) / 1000 for text in readings if text.lstrip("-").isdigit()]
    return max((value for value in degrees if 0 < value < 150), default=None)


def system() -> str:
    entries = dict(line.split("=", 1) for line in read("/etc/os-release").splitlines() if "=" in line)
    name = entries.get("PRETTY_NAME", platform.system()).strip('"')
    return f"{name}, {platform.system()} {platform.release()}"


def available() -> list[int]:
    """The CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def peak_rss() -> int:
    """Bytes this process has had resident at most.

    VmHWM starts anew with the program; ru_maxrss on Linux also counts the parent it was forked from.
    """
    for line in read("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def repeat(infer: Callable[[], None], runs: int, seconds: float, tell: Callable[[float, float], None]) -> list[float]:
    """Milliseconds of each frame: at least ``runs`` frames and ``seconds`` of them."""
    samples = []
    start = told = time.perf_counter()
    while True:
        before = time.perf_counter_ns()
        infer()
        samples.append((time.perf_counter_ns() - before) / 1e6)
        now = time.perf_counter()
        elapsed = now - start
        if len(samples) >= runs and elapsed >= seconds:
            return samples
        if now - told >= TELL_EVERY:
            told = now
            tell(elapsed, max(seconds, elapsed * runs / len(samples)))


def teller(base: float, rest: float) -> Callable[[float, float], None]:
    """Progress from ``base`` on, with ``rest`` seconds still to come after this part."""

    def tell(elapsed: float, expected: float) -> None:
        left = max(0.0, expected - elapsed)
        emit("progress", done=min(1.0, base + (1 - base) * elapsed / (expected + rest)), left_s=left + rest)

    return tell


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Load, first frame, warm-up, steady state."""
    suffix = Path(options.artefact).suffix
    if suffix not in ENGINES:
        raise Failure("input", f"no runtime here runs {suffix!r} files; there are: {', '.join(ENGINES)}")
    if options.cpus:
        os.sched_setaffinity(0, {int(cpu) for cpu in options.cpus.split(",")})
    threads = options.threads or min(4, len(available()))
    hot = temperature()
    engine_class = ENGINES[suffix]
    if suffix == ".mlpackage" and sys.platform != "darwin":
        raise Failure("missing", "Core ML runs on macOS only; run the same command on a Mac")
    require(*engine_class.NEEDS)  # an application imports its runtime once; load_ms is what each model costs
    emit("progress", done=0.0, left_s=options.warmup_seconds + options.seconds)
    before = time.perf_counter_ns()
    loaded = load(engine_class, options, threads)
    load_ms = (time.perf_counter_ns() - before) / 1e6
    loaded.prepare()
    before = time.perf_counter_ns()
    loaded.infer()
    first_ms = (time.perf_counter_ns() - before) / 1e6
    warm = repeat(loaded.infer, options.warmup, options.warmup_seconds, teller(0.0, options.seconds))
    samples = repeat(loaded.infer, options.runs, options.seconds, teller(0.3, 0.0))
    return {
        "load_ms": load_ms,
        "first_ms": first_ms,
        "warmup_runs": len(warm),
        "samples_ms": samples,
        "peak_rss_bytes": peak_rss(),
        "coverage": loaded.coverage(),
        "layers": engine_class.layers(options.artefact, threads, options.units) if options.profile else [],
        "temperature_c": [hot, temperature()],
        "machine": {
            "cpu": cpu_model(),
            "cores": os.cpu_count() or 1,
            "governor": governor(),
            "os": system(),
            "arch": platform.machine(),
            "python": platform.python_version(),
            "runtime": loaded.runtime,
            "runtime_version": loaded.version,
            "threads": threads,
            "cpus": available() if options.cpus else [],
        },
    }


def load(engine_class: Any, options: argparse.Namespace, threads: int) -> Any:
    """The artefact in its runtime."""
    try:
        return engine_class(options.artefact, threads, options.units)
    except Failure:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Failure("input", f"the runtime cannot load it ({lines[0][:200]})") from error


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure one artefact.")
    parser.add_argument("artefact")
    parser.add_argument("--threads", type=int, default=0, help="0: the CPUs there are, at most 4")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--warmup-seconds", type=float, default=0.5)
    parser.add_argument("--cpus", default="", help="run on these CPUs only, e.g. 2,3")
    parser.add_argument("--units", choices=sorted(Coreml.UNITS), help="Core ML compute units")
    parser.add_argument("--profile", action="store_true", help="also time each layer, in a session of its own")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 and a ``result`` line, or 1 and an ``error`` line."""
    options = parse(arguments)
    try:
        require(["numpy"], "numpy")
        emit("result", **measure(options))
    except Failure as error:
        emit("error", kind=error.kind, message=str(error))
        return 1
    except Exception as error:
        emit("error", kind="internal", message=f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
