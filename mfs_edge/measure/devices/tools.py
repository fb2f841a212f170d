"""The benchmark tools that runtimes build for Android: their options, and what they print.

The formats were taken from the tools' own sources (tensorflow/lite/tools/benchmark and
onnxruntime/test/perftest) and from logs of several versions; lines that a version lacks leave
their figure empty, but without the figures that matter :func:`parse` returns None.

``onnxruntime_perf_test`` has always written a file of one row per frame, and that is read.
``benchmark_model`` writes its figures to the log alone (its profile also as CSV, of the very table
that the log shows), so the log is read, by regular expressions.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mfs_edge.measure.devices import Request
from mfs_edge.measure.observed import Coverage, Latency, Layer

_NUMBER = r"([\d.]+(?:e[+-]?\d+)?)"
_PROFILED_RUNS = 20
RESULTS = "results.csv"  # what a tool writes where it runs, read after its log


@dataclass(frozen=True)
class Reading:
    """What a tool's output says."""

    runtime: str
    latency: Latency
    coverage: Coverage | None = None
    peak_bytes: int | None = None
    threads: int | None = None
    note: str | None = None


Parse = Callable[[Sequence[str]], Reading | None]


@dataclass(frozen=True)
class Tool:
    """One kind of executable."""

    name: str
    suffix: str  # of the artefacts it runs
    arguments: Callable[[str, Request], list[str]]
    parse: Parse
    profile: Callable[[str, Request], list[str]] | None = None


def find(path_name: str) -> Tool:
    """The tool that an executable of this name is."""
    return PERF_TEST if "perf_test" in path_name else BENCHMARK_MODEL


def _sound(parse: Parse) -> Parse:
    """``parse``, but None where a figure is garbled, missing or none that a clock can give."""

    @functools.wraps(parse)
    def parsed(lines: Sequence[str]) -> Reading | None:
        try:
            found = parse(lines)
        except (ValueError, KeyError, OverflowError, ZeroDivisionError):  # of a line that broke off, say
            return None
        if found is None or not _measured(found.latency):
            return None
        return found

    return parsed


def _measured(latency: Latency) -> bool:
    """Whether it holds times: finite, and more than none on average."""
    times = [value for name, value in latency if name.endswith("_ms") and isinstance(value, float)]
    return all(map(math.isfinite, (*times, latency.fps, *latency.samples_ms))) and latency.mean_ms > 0


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is no time")
    return value


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
    return [*_litert(artefact, request)[:2], f"--num_runs={_PROFILED_RUNS}", "--enable_op_profiling=true"]


def _pairs(line: str) -> dict[str, str]:
    """name=number, as often as it stands there."""
    return {str(name): str(number) for name, number in re.findall(rf"(\w+)={_NUMBER}", line)}


@_sound
def _parse_litert(lines: Sequence[str]) -> Reading | None:
    """``benchmark_model`` prints microseconds; its second line of counts is the steady state."""
    text = "\n".join(lines)
    counts = [line for line in lines if re.search(r"\bcount=\d", line)]
    timings = re.search(rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}", text)
    if len(counts) < 2 or timings is None:
        return None
    warm, steady = (_pairs(line) for line in counts[-2:])
    if steady["count"] == "1" and "curr" in steady:  # all that is printed of a single run
        steady = {"min": steady["curr"], "avg": steady["curr"], **steady}
    ms = {name: float(steady[name]) / 1000 for name in ("min", "avg")}
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
    """-I makes its own inputs; what every frame took goes into a file."""
    threads, runs = str(request.threads or 4), str(request.warmup + request.runs)
    return ["-I", "-m", "times", "-r", runs, "-x", threads, "-y", "1", artefact, RESULTS]


@_sound
def _parse_ort(lines: Sequence[str]) -> Reading | None:
    """A row of ``onnxruntime_perf_test``'s file is model, seconds, peak bytes, CPU %, number, in every version.

    What comes before the frames it tells in English alone.
    """
    rows = [row for row in (line.rsplit(",", 4) for line in lines) if len(row) == 5 and row[4].isdigit()]
    if not rows:
        return None
    text = "\n".join(lines)
    load = _figure(rf"Session creation time cost: ?{_NUMBER} s", text)
    latency = Latency.of(
        [_finite(seconds) * 1000 for _, seconds, *_ in rows],
        load_ms=None if load is None else load * 1000,
        first_ms=_figure(rf"First inference time cost: ?{_NUMBER} ms", text),
        warmup_runs=1,
    )
    return Reading(
        runtime="onnxruntime_perf_test",
        latency=latency,
        peak_bytes=int(rows[-1][2]) or None,
        note="onnxruntime_perf_test warms up with a single frame",
    )


BENCHMARK_MODEL = Tool("benchmark_model", ".tflite", _litert, _parse_litert, _litert_profile)
PERF_TEST = Tool("onnxruntime_perf_test", ".onnx", _ort, _parse_ort)
SUFFIXES = (BENCHMARK_MODEL.suffix, PERF_TEST.suffix)  # of what some tool runs
