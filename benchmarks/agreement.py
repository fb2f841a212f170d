"""Do our figures agree with those of others' tools on the same file?

    python benchmarks/agreement.py idn.onnx idn.tflite idn.xml

Ours and theirs run alternately, each in a fresh process, on the same CPUs; the figure is the
median over rounds of the ratio of p50s. Within 10 % is agreement. The tools: onnxruntime's own
profiler (the total of each run), OpenVINO's ``benchmark_app -hint latency -api sync``, and
LiteRT's ``benchmark_litert_model``.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, only this folder is on the path

from benchmarks import peerlib
from mfs_edge import target
from mfs_edge.measure import luggage
from mfs_edge.measure.devices import Request, Watch
from mfs_edge.measure.devices.local import LocalDevice
from mfs_edge.measure.pinning import quiet_cpus

TOLERANCE = 0.10
RUNS = 100
Tool = Callable[[Path, int, tuple[int, ...]], float]

# Its sum of a whole run, from a session like that of our own engine.
PROFILED = """
import json, sys
import numpy as np
from mfs_edge.measure import runner
engine = runner.engine(sys.argv[1])(sys.argv[2], int(sys.argv[3]), True)
engine.feed({n: np.random.default_rng(0).random(s).astype(t) for n, (s, t) in engine.inputs.items()})
for _ in range(int(sys.argv[4])):
    engine.infer()
events = json.load(open(engine.session.end_profiling()))
print(json.dumps([e["dur"] / 1000 for e in events if e["name"] == "model_run"]))
"""


def run(command: list[str], cpus: tuple[int, ...], folder: str) -> str:
    """What ``command`` prints, bound to ``cpus``, in a throw-away folder."""
    bind = (lambda: os.sched_setaffinity(0, cpus)) if cpus else None
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, preexec_fn=bind)
    if done.returncode != 0:
        raise click.ClickException(f"{command[0]} failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return done.stdout


def beside(name: str) -> str:
    """A tool that came with a runtime, in the environment of this interpreter."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        raise click.ClickException(f"{name} is not installed; install the runtime's extra")
    return found


def onnxruntime_profiler(path: Path, threads: int, cpus: tuple[int, ...]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        given = [str(luggage.engine_file(target.get("onnx"))), str(path), str(threads), str(RUNS + 20)]
        text = run([sys.executable, "-c", PROFILED, *given], cpus, folder)
    return statistics.median(json.loads(text)[20:])


def benchmark_app(path: Path, threads: int, cpus: tuple[int, ...]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [beside("benchmark_app"), "-m", str(path), "-d", "CPU", "-hint", "latency", "-api", "sync"]
        # With -hint it refuses -nthreads; it takes as many threads as it is bound to CPUs.
        command += ["-niter", str(RUNS), "-infer_precision", "f32"]
        run([*command, "-json_stats", "-report_type", "no_counters", "-report_folder", folder], cpus, folder)
        results = json.loads(Path(folder, "benchmark_report.json").read_text())["execution_results"]
    return float(results["latency (ms)"])  # of the percentile asked for, 50 by default


def benchmark_litert_model(path: Path, threads: int, cpus: tuple[int, ...]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [beside("litert-benchmark"), f"--model={path}", f"--num_runs={RUNS}", "--warmup_runs=20"]
        run([*command, f"--num_threads={threads}", f"--result_json={result}"], cpus, folder)
        return float(json.loads(result.read_text())["latency"]["median_ms"])


TOOLS: dict[str, Tool] = {".onnx": onnxruntime_profiler, ".xml": benchmark_app, ".tflite": benchmark_litert_model}


def ours(path: Path, threads: int, cpus: tuple[int, ...]) -> float:
    found = LocalDevice().measure(path, Request(threads=threads, runs=RUNS, cpus=cpus, profile=False), Watch())
    if found.latency is None:
        raise click.ClickException("the local device measured no time")
    return found.latency.typical_ms


@click.command(help=__doc__)
@click.argument("artefacts", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--threads", default=1, show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(artefacts: tuple[Path, ...], threads: int, rounds: int, json_path: Path | None) -> None:
    cpus = quiet_cpus(threads) or tuple(sorted(os.sched_getaffinity(0)))
    rows, rounds_ms = [], {}
    for path in map(Path.resolve, artefacts):
        tool = TOOLS[path.suffix]
        pairs = [(ours(path, threads, cpus), tool(path, threads, cpus)) for _ in range(rounds)]
        rounds_ms[path.name] = pairs
        mine, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(mine / theirs for mine, theirs in pairs)
        shared = {"file": path.name, "tool": tool.__name__, "our ms": mine, "its ms": theirs, "ratio": ratio}
        rows.append({**shared, "agrees": abs(ratio - 1) <= TOLERANCE})
    peerlib.show(f"Our p50 beside that of others' tools, {threads} thread(s)", rows)
    if json_path:
        peerlib.save(json_path, {"threads": threads, "rows": rows, "ms": rounds_ms})
    if not all(row["agrees"] for row in rows):
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main()
