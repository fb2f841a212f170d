"""What quantisation costs, step by step, beside other toolchains'.

The same float graph, calibration pictures and judging pictures for everyone: the trained
demo (drawn faces, 32 calibrate and 32 others judge) and the golden network of random weights
(crops of two photographs calibrate, crops of two others judge). Every figure is PSNR in dB
against the float graph, mean over the judging pictures, measured on onnxruntime; the last
column is the seconds taken. Then our int8 file on each runtime, beside the graph in float, with
VNNI (where this CPU has it) and without.

    python benchmarks/quantize.py --network demo --size 224
    python benchmarks/quantize.py --json benchmarks/results/quantize.json

NNCF runs in an environment of its own (``peers.toml``; kept in the cache folder).
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx_ir as ir

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # run as a script, only this folder is on the path

# ruff: noqa: E402
from benchmarks import peer_environments, peerlib
from benchmarks.peer_race import Child, race
from benchmarks.quantize_cases import Case, cases
from mfs_edge import target
from mfs_edge.base.errors import CheckFailed
from mfs_edge.base.fidelity import OUTPUT_NAMES, Outputs, psnr
from mfs_edge.graph import edit, passes
from mfs_edge.measure import facts, luggage, machine
from mfs_edge.quantize import execute, half, quantise, recipe
from mfs_edge.quantize.draft import Draft
from mfs_edge.target import EmitOptions

ORT_METHODS = ("MinMax", "Entropy", "Percentile")
TURNS = 60
NNCF_MODES = ("default", "bias correction")
# Per target, what is raced: OpenVINO's convolutions, and our C, can be kept from using VNNI.
ISA: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "openvino": {"": {}, ", AVX2 only": {"ONEDNN_MAX_CPU_ISA": "AVX2"}},
    "c": {"": {}, ", AVX2 only": {"MFS_EDGE_IDN_CPU": "1"}},
}


@click.command(help=__doc__)
@click.option("--network", "networks", type=click.Choice(["demo", "golden"]), multiple=True, default=("demo", "golden"))
@click.option("--size", "sizes", type=int, multiple=True, default=(224, 256), show_default=True)
@click.option("--identities", default=3, show_default=True, help="Of the demo.")
@click.option("--steps/--no-steps", default=True, help="Our recipe step by step, not only the whole.")
@click.option("--ort", "methods", type=click.Choice(ORT_METHODS), multiple=True, default=ORT_METHODS)
@click.option("--nncf/--no-nncf", default=True, help="NNCF too, in an environment of its own.")
@click.option("--latency/--no-latency", default=True, help="int8 beside fp32, one thread, on each runtime.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here too.")
def main(
    networks: tuple[str, ...],
    sizes: tuple[int, ...],
    identities: int,
    steps: bool,
    methods: tuple[str, ...],
    nncf: bool,
    latency: bool,
    json_path: Path | None,
) -> None:
    rows: list[dict[str, Any]] = []
    speed: list[dict[str, Any]] = []
    halves: list[dict[str, Any]] = []
    for case in cases(networks, sizes, identities):
        contenders = dict(ours(steps=steps)) | dict(theirs(methods, nncf=nncf))
        rows += [measure(case, name, make) for name, make in contenders.items()]
        peerlib.show(case.name, [row for row in rows if row["network"] == case.name])
        halves += half_precision(case)
        if latency:
            speed += in_turns(case)
    if len(rows) > len(contenders):
        peerlib.show("mean over identities", means(rows))
    peerlib.show("Our fp16 from each target's file", halves)
    if speed:
        peerlib.show(f"Our int8 on each runtime, beside fp32: one thread, in turns, on {cpu()}", speed)
    if json_path is not None:
        peerlib.save(json_path, {"cpu": cpu(), "rows": rows, "means": means(rows), "fp16": halves, "latency": speed})


# The contenders: each makes a graph of a case.
Make = Callable[[Case], ir.Model]


def ours(*, steps: bool) -> Iterator[tuple[str, Make]]:
    """Our whole recipe, and how it comes about."""
    left = [step for added in recipe.SHARES.values() for step in added]
    for title, added in recipe.SHARES.items():
        left = [step for step in left if step not in added]
        if steps or not left:
            yield title, _without(tuple(left))
    if steps:
        yield "fp16, to nearest", lambda case: _nearest(passes.balance(case.model.clone(), case.calibrate))
    yield "ours: fp16", lambda case: half.prepare(case.model, case.calibrate)
    yield "ours: int8-mixed", lambda case: quantise(case.model, case.calibrate, precision="int8-mixed").model


def _without(left_out: tuple[str, ...]) -> Make:
    return lambda case: recipe.run(Draft(case.model, case.calibrate), without=left_out).model


def _nearest(model: ir.Model) -> ir.Model:
    """Every weight as the nearest float16."""
    for conv in edit.of_type(model.graph, "Conv"):
        edit.set_weight(model.graph, conv, 1, edit.weight(conv, 1).astype(np.float16))
    return model


def theirs(methods: Sequence[str], *, nncf: bool) -> Iterator[tuple[str, Make]]:
    """onnxruntime's quantize_static, and NNCF."""
    for method in methods:
        yield f"onnxruntime {method}", partial(quantize_static, method=method)
    if nncf:
        peer_environments.python("nncf")  # installed before anything is timed
        for mode in NNCF_MODES:
            yield f"NNCF {mode}", partial(nncf_quantize, mode=mode)


def quantize_static(case: Case, method: str) -> ir.Model:
    """onnxruntime's own, QDQ, weights per channel; its other settings are its defaults."""
    from onnxruntime import quantization

    logging.getLogger().setLevel(logging.ERROR)  # it advises a preparation that our passes have done

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(case.calibrate)

        def get_next(self) -> dict[str, np.ndarray] | None:
            picture = next(self.left, None)
            return None if picture is None else {"image": picture}

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        ir.save(case.model, before)
        quantization.quantize_static(
            before, after, Reader(), per_channel=True, calibrate_method=quantization.CalibrationMethod[method]
        )
        return ir.from_proto(ir.to_proto(ir.load(after)))


def nncf_quantize(case: Case, mode: str) -> ir.Model:
    """NNCF's, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        before, pictures, after = (Path(folder) / name for name in ("fp32.onnx", "pictures.npy", "int8.onnx"))
        ir.save(case.model, before)
        np.save(pictures, np.concatenate(list(case.calibrate)))
        peer_environments.run("nncf", "nncf_child.py", before, pictures, after, mode)
        return ir.from_proto(ir.to_proto(ir.load(after)))


# The figures.


def measure(case: Case, name: str, make: Make) -> dict[str, Any]:
    """PSNR and seconds of one contender on one case."""
    begin = time.perf_counter()
    model = make(case)
    seconds = time.perf_counter() - begin
    found = fidelity(execute.outputs(model, case.judge), case.expected)
    return {"network": case.name, "quantised by": name, **found, "seconds": round(seconds, 1)}


def means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows averaged over the demo's identities."""
    found = []
    kinds = dict.fromkeys((_kind(row), row["quantised by"]) for row in rows)
    for network, name in kinds:
        alike = [row for row in rows if (_kind(row), row["quantised by"]) == (network, name)]
        figures = [key for key, value in alike[0].items() if isinstance(value, float)]
        average = {key: round(float(np.mean([row[key] for row in alike])), 2) for key in figures}
        found.append({"network": network, "quantised by": name, **average})
    return found


def _kind(row: Mapping[str, Any]) -> str:
    name, size = str(row["network"]).split(", ")
    return f"{name.split()[0]}, {size}"


def half_precision(case: Case) -> list[dict[str, Any]]:
    """Our fp16 as each target's file gives it, run where it can be and evaluated where not."""
    rows = []
    model = half.prepare(case.model, case.calibrate)
    with tempfile.TemporaryDirectory() as folder:
        for backend in target.registered().values():
            if target.missing(backend):
                continue
            path = Path(folder) / f"fp16{backend.suffix}"
            backend.emit(model, path, EmitOptions(precision="fp16"))
            loaded = backend.evaluator(path) or backend.load(path)
            found = fidelity([loaded.run(picture) for picture in case.judge], case.expected)
            rows.append({"network": case.name, "target": backend.title, **found})
    return rows


def in_turns(case: Case) -> list[dict[str, Any]]:
    """Our int8 beside our fp32 on every installed runtime, one thread; OpenVINO also without VNNI."""
    whole = {"fp32": case.model, "int8": quantise(case.model, case.calibrate).model}
    products = whole | {"int8": quantise(case.model, case.calibrate, products=True).model}
    exactly = fidelity(execute.outputs(whole["int8"], case.judge, as_written=True), case.expected)
    rows = [{"network": case.name, "runtime": "the graph, in float", **exactly}]
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "images.npy", np.concatenate(list(case.judge)))
        for backend in target.registered().values():
            if target.missing(backend) or backend.unrunnable() is not None or "int8" not in backend.precisions:
                continue
            graphs = products if backend.products else whole
            paths = {precision: Path(folder) / f"{precision}{backend.suffix}" for precision in graphs}
            for precision, path in paths.items():
                backend.emit(graphs[precision], path, EmitOptions(precision=precision))
            for suffix, variables in ISA.get(backend.name, {"": {}}).items():
                named = {"network": case.name, "runtime": backend.title + suffix}
                raced = _raced(case, str(luggage.engine_file(backend)), paths, variables)
                rows.append(named | raced | {"bytes": facts.of(paths["int8"]).bytes})
    return rows


def _raced(case: Case, engine: str, paths: Mapping[str, Path], variables: Mapping[str, str]) -> dict[str, Any]:
    """Fidelity of the last and times of all, in processes with these environment variables."""
    children = {n: Child(engine, sys.executable, path, path.parent, 1, **variables) for n, path in paths.items()}
    taken = race({name: child.burst for name, child in children.items()}, turns=TURNS, warmup=TURNS // 6)
    for child in children.values():
        child.end()
        if child.reason:
            raise CheckFailed(f"the race {child.reason}")
    times: dict[str, Any] = {f"{name}, ms": median for name in paths for _, median, _ in [taken.quartiles(name)]}
    times |= {f"{name}, quartiles": (low, high) for name in paths for low, _, high in [taken.quartiles(name)]}
    times |= {"int8 times as fast": taken.ratio("fp32", "int8")[0]}
    return {**fidelity(children["int8"].outputs, case.expected), **times}


def cpu() -> str:
    """Which CPU, and which of the instructions it has that decide how fast int8 is."""
    flags = machine.read("/proc/cpuinfo").split()
    known = [name for name in ("avx2", "avx512bw", "avx_vnni", "avx512_vnni", "asimddp", "i8mm") if name in flags]
    return f"{machine.cpu_model()} ({', '.join(known)})"


def fidelity(found: Iterable[Outputs], expected: Sequence[Outputs]) -> dict[str, float]:
    """Mean and least PSNR of image and mask."""
    pairs = zip(found, expected, strict=True)
    levels = np.array([[psnr(outputs[name] - wanted[name]) for name in OUTPUT_NAMES] for outputs, wanted in pairs])
    values = np.concatenate([levels.mean(axis=0), levels.min(axis=0)]).round(2).tolist()
    return dict(zip(("image", "mask", "image, worst", "mask, worst"), values, strict=True))


if __name__ == "__main__":
    main()
