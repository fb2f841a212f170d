"""The benchmark tools that runtimes build for Android: their options, and what they print.

The formats were taken from the tools' own sources (tensorflow/lite/tools/benchmark and
onnxruntime/test/perftest) and from logs of several versions; lines that a version lacks leave
their figure empty, but without the figures that matter :func:`parse` returns None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mfs_edge.measure.devices import Request
from mfs_edge.measure.results import Coverage, Latency, Layer

_NUMBER = r"([\d.]+(?:e[+-]?\d+)?)"
_PROFILED_RUNS = 20


@dataclass(frozen=True)
class Reading:
    """What a tool's output says."""

    runtime: str
    latency: Latency
    coverage: Coverage | None = None
    peak_bytes: int | None = None
    threads: int | None = None
    note: str | None = None


@dataclass(frozen=True)
class Tool:
    """One kind of executable."""

    name: str
    suffix: str  # of the artefacts it runs
    arguments: Callable[[str, Request], list[str]]
    parse: Callable[[Sequence[str]], Reading | None]
    profile: Callable[[str, Request], list[str]] | None = None


def find(path_name: str) -> Tool:
    """The tool that an executable of this name is."""
    return PERF_TEST if "perf_test" in path_name else BENCHMARK_MODEL


def _figure(pattern: str, text: str) -> float | None:
    found = re.search(pattern, text)
    return float(found.group(1)) if found else None


def _litert(artefact: str, request: Request) -> list[str]:
    return [
        f"--graph={artefact}",
        f"--num_threads={request.threads or 4}",
        f"--num_runs={request.runs}",
        f"--min_secs={request.seconds}",
        f"--warmup_runs={request.warmup}",
        f"--warmup_min_secs={request.warmup_seconds}",
    ]


def _litert_profile(artefact: str, request: Request) -> list[str]:
    return [
        f"--graph={artefact}",
        f"--num_threads={request.threads or 4}",
        f"--num_runs={_PROFILED_RUNS}",
        "--enable_op_profiling=true",
    ]


def _pairs(line: str) -> dict[str, str]:
    """name=number, as often as it stands there."""
    return {str(name): str(number) for name, number in re.findall(rf"(\w+)={_NUMBER}", line)}


def _parse_litert(lines: Sequence[str]) -> Reading | None:
    """``benchmark_model`` prints microseconds; its second line of counts is the steady state."""
    text = "\n".join(lines)
    counts = [line for line in lines if re.search(r"\bcount=\d", line)]
    timings = re.search(rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}", text)
    if len(counts) < 2 or timings is None:
        return None
    warm, steady = (_pairs(line) for line in counts[-2:])
    only = steady.get("curr", "0")  # a single run is printed as "count=1 curr=..."
    ms = {name: float(steady.get(name, only)) / 1000 for name in ("min", "avg")}
    latency = Latency(
        load_ms=float(timings.group(1)) / 1000,
        first_ms=float(timings.group(2)) / 1000,
        warmup_runs=int(float(warm["count"])),
        runs=int(float(steady["count"])),
        min_ms=ms["min"],
        p50_ms=float(steady["median"]) / 1000 if "median" in steady else None,
        mean_ms=ms["avg"],
        std_ms=float(steady["std"]) / 1000 if "std" in steady else None,
        fps=1000 / ms["avg"],
    )
    memory = _figure(rf"(?:via periodic monitoring: |\(MB\): init=[\d.]+ overall=){_NUMBER}", text)
    threads = _figure(r"#threads used for CPU inference: \[(\d+)\]", text)
    return Reading(
        runtime="benchmark_model",
        latency=latency,
        coverage=_delegated(text),
        peak_bytes=None if memory is None else int(memory * 2**20),
        threads=None if threads is None else int(threads),
    )


def _delegated(text: str) -> Coverage | None:
    found = re.search(
        r"Replacing (\d+) out of (\d+) node\(s\) with delegate \(TfLite(\w+?)Delegate\).*?(\d+) partitions", text
    )
    if found is None:
        return None
    return Coverage(
        delegate=found.group(3),
        delegated=int(found.group(1)),
        nodes=int(found.group(2)),
        partitions=int(found.group(4)),
    )


def layers(lines: Sequence[str]) -> tuple[Layer, ...]:
    """The run order of ``benchmark_model --enable_op_profiling=true``."""
    found: list[Layer] = []
    inside = False
    for line in lines:
        cells = [cell.strip() for cell in line.split("\t") if cell.strip()]
        if "Operator-wise Profiling Info for Regular Benchmark Runs" in line:
            inside, found = True, []
        elif inside and "Top by Computation Time" in line:
            return tuple(found)
        elif inside and len(cells) >= 7 and cells[-4].endswith("%"):
            kind, name, average = cells[0], cells[-1], _average(cells)
            found += [Layer(name=name, kind=kind, ms=average)] if average is not None else []
    return tuple(found)


def _average(cells: Sequence[str]) -> float | None:
    """Type, [start,] first, average, %, cdf %, memory, calls, name: the average stands before the first percentage."""
    share = next(i for i, cell in enumerate(cells) if cell.endswith("%"))
    try:
        return float(cells[share - 1])
    except ValueError:
        return None


def _ort(artefact: str, request: Request) -> list[str]:
    """-I makes its own inputs, -s prints percentiles."""
    threads = str(request.threads or 4)
    return ["-I", "-s", "-m", "times", "-r", str(request.warmup + request.runs), "-x", threads, "-y", "1", artefact]


def _parse_ort(lines: Sequence[str]) -> Reading | None:
    """``onnxruntime_perf_test`` prints seconds but for the averages; old versions say "is ... sec"."""
    text = "\n".join(lines)
    found = dict(re.findall(rf"(\w+) Latency(?: is|:) {_NUMBER} s", text))
    mean = _figure(rf"Average inference time cost(?: total)?: ?{_NUMBER} ms", text)
    runs = _figure(r"Total inference requests: ?(\d+)", text)
    if mean is None or runs is None or "Min" not in found or "P50" not in found:
        return None
    load, memory = (
        _figure(rf"Session creation time cost: ?{_NUMBER} s", text),
        _figure(r"Peak working set size: (\d+)", text),
    )
    percentile = {name: float(found[name]) * 1000 for name in ("P50", "P90", "P99") if name in found}
    latency = Latency(
        load_ms=None if load is None else load * 1000,
        first_ms=_figure(rf"First inference time cost: ?{_NUMBER} ms", text),
        warmup_runs=1,
        runs=int(runs),
        min_ms=float(found["Min"]) * 1000,
        p50_ms=percentile["P50"],
        p90_ms=percentile.get("P90"),
        p99_ms=percentile.get("P99"),
        mean_ms=mean,
        std_ms=None,
        fps=1000 / mean,
    )
    return Reading(
        runtime="onnxruntime_perf_test",
        latency=latency,
        peak_bytes=None if memory is None else int(memory),
        note="onnxruntime_perf_test warms up with a single frame",
    )


BENCHMARK_MODEL = Tool("benchmark_model", ".tflite", _litert, _parse_litert, _litert_profile)
PERF_TEST = Tool("onnxruntime_perf_test", ".onnx", _ort, _parse_ort)
