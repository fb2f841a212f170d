"""The generated C beside every runtime on our own optimised graph: one run, in turns, and what the core can do at most.

Each contender is a process of its own with one thread, in turns that rotate. The C runs once per
instruction set that this CPU has; runtimes choose for themselves, OpenVINO once more without
AVX-512. "of peak" is the graph's multiply-accumulates per second over those of a loop of
independent multiply-adds, timed in the same turns. int8 is each target's own form of it.

    python benchmarks/native.py
    python benchmarks/native.py --size 256 --precision int8 --json benchmarks/results/native.json
"""

from __future__ import annotations

import ctypes
import importlib
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx_ir as ir

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # run as a script, only this folder is on the path

# ruff: noqa: E402

from benchmarks import peerlib
from benchmarks.peer_race import Child, Race, Turn, race
from benchmarks.quantize import cpu, fidelity
from benchmarks.quantize_cases import Case, cases
from mfs_edge import target
from mfs_edge.base.errors import CheckFailed
from mfs_edge.graph import cost
from mfs_edge.measure import luggage
from mfs_edge.quantize import quantise
from mfs_edge.target import EmitOptions

engine: Any = importlib.import_module(target.get("c").engine)

FORCED = "MFS_EDGE_IDN_CPU"
PEAK_MS = 4.0
SHOWN = (
    "what",
    "ms",
    "quartiles",
    "times as fast as the fastest runtime",
    "quartiles of that",
    "image",
    "mask",
    "of peak",
)
Contenders = dict[str, Child]


@click.command(help=__doc__)
@click.option("--size", "sizes", type=int, multiple=True, default=(224, 256), show_default=True)
@click.option("--precision", "precisions", type=click.Choice(["fp32", "int8"]), multiple=True, default=("fp32", "int8"))
@click.option("--turns", default=60, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here too.")
def main(sizes: tuple[int, ...], precisions: tuple[str, ...], turns: int, json_path: Path | None) -> None:
    rows: list[dict[str, Any]] = []
    for case in cases(("demo",), sizes, 1):
        for precision in precisions:
            found = raced(case, precision, turns)
            shown = [{key: value for key, value in row.items() if key in SHOWN} for row in found]
            peerlib.show(f"{case.name}, {precision}, one thread, in turns, on {cpu()}", shown)
            rows += found
        rows += (two := threads(case, precisions, turns))
        peerlib.show(f"{case.name}: the C on two threads", two)
    if json_path is not None:
        peerlib.save(json_path, {"cpu": cpu(), "rows": rows})


def raced(case: Case, precision: str, turns: int) -> list[dict[str, Any]]:
    """Every contender in one precision, the fastest runtime as the measure of the C."""
    with tempfile.TemporaryDirectory() as folder:
        children = contenders(case, precision, Path(folder), threads=1)
        peaks = {isa: peak(code, integers=precision == "int8") for isa, code in instruction_sets(children).items()}
        taken = race(
            turns_of(children) | {f"peak {isa}": turn for isa, (turn, _) in peaks.items()},
            turns=turns,
            warmup=turns // 6,
        )
        ended(children)
        fastest = min((n for n in children if not n.startswith("C, ")), key=lambda name: taken.quartiles(name)[1])
        work = cost.count(case.model).macs
        return [
            row(case, precision, name, child, taken, fastest) | _of_peak(name, taken, peaks, work)
            for name, child in children.items()
        ]


def threads(case: Case, precisions: tuple[str, ...], turns: int) -> list[dict[str, Any]]:
    """The C on two threads beside itself on one."""
    rows = []
    for precision in precisions:
        with tempfile.TemporaryDirectory() as folder:
            kept = {}
            for count in (1, 2):
                every = contenders(case, precision, Path(folder), threads=count, only="c")
                best = list(every)[-1]
                kept[f"{count} threads"] = every.pop(best)
                for child in every.values():
                    child.end()
            taken = race(turns_of(kept), turns=turns, warmup=turns // 6)
            ended(kept)
            ratio, spread = taken.ratio("1 threads", "2 threads")[0], taken.spread("1 threads", "2 threads")
            named = {"network": case.name, "precision": precision}
            rows.append(named | {"two threads times as fast": ratio, "quartiles": spread})
    return rows


def contenders(case: Case, precision: str, folder: Path, *, threads: int, only: str = "") -> Contenders:
    """A process for each: emitted by its target, fed with the judging pictures."""
    np.save(folder / "images.npy", np.concatenate(list(case.judge)[:8]))
    children: Contenders = {}
    for backend in target.registered().values():
        if target.missing(backend) or backend.unrunnable() is not None or only not in ("", backend.name):
            continue
        path = folder / f"{precision}-{threads}{backend.suffix}"
        backend.emit(graph(case, precision, products=backend.products), path, EmitOptions(precision=precision))
        for title, variables in variants(backend, path).items():
            place = folder / title.replace(" ", "-")
            place.mkdir(exist_ok=True)
            (place / "images.npy").write_bytes((folder / "images.npy").read_bytes())
            children[title] = Child(
                str(luggage.engine_file(backend)), sys.executable, path, place, threads, **variables
            )
    return children


def graph(case: Case, precision: str, *, products: bool) -> ir.Model:
    """What a target is given."""
    return case.model if precision == "fp32" else quantise(case.model, case.calibrate, products=products).model


def variants(backend: target.Target, path: Path) -> Mapping[str, Mapping[str, str]]:
    """Title -> environment variables."""
    if backend.name == "openvino":
        return {"OpenVINO": {}, "OpenVINO, AVX2 only": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}
    if backend.name != "c":
        return {backend.title: {}}
    loaded = engine.Engine(str(path), 1)
    return {f"C, {engine.CPUS[code].get('x86_64', 'NEON')}": {FORCED: str(code)} for code in loaded.cpus()}


def instruction_sets(children: Contenders) -> dict[str, int]:
    names = [name.removeprefix("C, ") for name in children if name.startswith("C, ")]
    return {name: code for code, name in enumerate(names) if name != "SSE2"}


def peak(code: int, *, integers: bool) -> tuple[Turn, float]:
    """A turn of multiply-adds on one instruction set, and how many it makes."""
    library = _peak_library()
    rounds, made = 1000, 0.0
    while True:  # a few milliseconds of them
        begin = time.perf_counter()
        made = library.peak(code, int(integers), rounds)
        if (time.perf_counter() - begin) * 1e3 > PEAK_MS or not made:
            break
        rounds *= 2

    def turn() -> tuple[float, float]:
        wall, processor = time.perf_counter(), time.process_time()
        library.peak(code, int(integers), rounds)
        return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)

    return turn, made


def _peak_library() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / engine.library_name()
        command, _ = engine.compiler()
        engine.run_compiler([*command, "-O2", "-fPIC", "-shared", str(HERE / "peak.c"), "-o", str(made)])
        library = ctypes.CDLL(str(made))
    library.peak.restype = ctypes.c_double
    library.peak.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64]
    return library


def turns_of(children: Contenders) -> dict[str, Turn]:
    return {name: child.burst for name, child in children.items()}


def ended(children: Contenders) -> None:
    for name, child in children.items():
        child.end()
        if child.reason:
            raise CheckFailed(f"{name}: {child.reason}")


def row(case: Case, precision: str, name: str, child: Child, taken: Race, fastest: str) -> dict[str, Any]:
    low, median, high = taken.quartiles(name)
    spread = taken.spread(fastest, name)
    quality = fidelity(child.outputs, case.expected[: len(child.outputs)])
    return {
        "network": case.name, "precision": precision, "what": name, "runtime": child.said["runtime"], "ms": median,
        "quartiles": (low, high), "fastest runtime": fastest,
        "times as fast as the fastest runtime": taken.ratio(fastest, name)[0], "quartiles of that": spread, **quality,
    }  # fmt: skip


def _of_peak(name: str, taken: Race, peaks: Mapping[str, tuple[Turn, float]], work: float) -> dict[str, float]:
    """What share of the core's peak the C reaches."""
    isa = name.removeprefix("C, ")
    if not name.startswith("C, ") or isa not in peaks:
        return {}
    ratio = (
        taken.turns[f"peak {isa}"][:, 1] / taken.turns[name][:, 1]
    )  # processor time: others may want the machine too
    return {"of peak": float(np.median(ratio)) * work / peaks[isa][1]}


if __name__ == "__main__":
    main()
