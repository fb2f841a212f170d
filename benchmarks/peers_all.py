"""What a user would pick instead: every usual way from the network to a device, beside ours.

The same folded network (the embedded demo's) goes through torch.onnx.export, OpenVINO, litert-torch,
ExecuTorch with XNNPACK, MNN, ncnn and coremltools.convert, each in an environment of its own
(``peers.toml``; kept in the cache folder), and through mfs-edge. All of them then run in turns,
each in its own process, a few frames at a time. What fails is recorded as such.

    python benchmarks/peers.py all
"""

from __future__ import annotations

import gc
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks import peer_environments, peer_results, peerlib
from benchmarks.peer_race import Child, last_line, race
from benchmarks.peer_results import Results, Row, Timed
from mfs_edge.base.artefact import Artefact
from mfs_edge.base.errors import CheckFailed, MfsEdgeError

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "peers.json"
TOLERANCE = 1e-3
TURNS = 40
OURS = "mfs-edge"
NETWORK = "the demo's first identity"


@dataclass(frozen=True)
class Contender:
    """A file, and what runs it."""

    name: str
    runtime: str  # a key of peer_child.RUNTIMES; "" if nothing here does
    python: str
    path: Path
    seconds: float

    @property
    def key(self) -> str:
        return f"{self.name} on {self.runtime}"

    @property
    def bytes(self) -> int:
        return Artefact.at(self.path, (".bin",)).size


@click.command(help=__doc__, short_help="Everything a user would pick instead, in one run.")
@click.option("--size", type=int, default=224, show_default=True)
@click.option("--threads", type=int, multiple=True, default=(1, 2), show_default=True)
@click.option("--turns", type=int, default=TURNS, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(size: int, threads: tuple[int, ...], turns: int, json_path: Path) -> None:
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        contenders, failed = convert(size, Path(folder))
        rows = [*compare(contenders, Path(folder), threads, turns), *failed]
    found = Results(network=NETWORK, size=size, machine=peer_results.this_machine(), rows=tuple(rows))
    json_path.parent.mkdir(parents=True, exist_ok=True)
    json_path.write_text(found.model_dump_json(indent=2) + "\n")
    json_path.with_suffix(".md").write_text(peer_results.markdown(found))
    peer_results.draw(found, json_path.with_suffix(".png"))
    peerlib.show(
        f"{NETWORK}, {size} px, float32",
        [dict(zip(peer_results.COLUMNS, c, strict=True)) for c in peer_results.cells(found)],
    )
    click.echo(f"{json_path}, with a table and a plot beside it; {time.perf_counter() - begin:.0f} s")


def convert(size: int, folder: Path) -> tuple[list[Contender], list[Row]]:
    """Every contender's file, and a row for each that could not be made."""
    from safetensors.numpy import save_file

    _import_converters()
    weights = peerlib.demo_weights()
    save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, folder / "idn.safetensors")
    np.save(folder / "image.npy", peerlib.frame(size))
    found: list[Contender] = []
    failed: list[Row] = []
    for make in (ours, exported, core_ml, *map(in_environment, CHILDREN)):
        try:
            found += make(weights, size, folder)
        except MfsEdgeError as error:
            failed.append(
                Row(contender=make.__name__, ours=False, runtime="", status="failed", reason=last_line(str(error)))
            )
    return found, failed


def _import_converters() -> None:
    """So that nobody who converts in this process is charged for imports, or for collecting garbage among them."""
    from benchmarks import peers_coreml

    with peers_coreml.quiet():
        for name in ("torch.onnx", "coremltools", "openvino"):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def ours(weights: peerlib.Arrays, size: int, folder: Path) -> list[Contender]:
    """Our files for every runtime."""
    from mfs_edge import target
    from mfs_edge.graph import build, passes
    from mfs_edge.quantize import half

    found = []
    for name, runtime in (("onnx", "onnxruntime"), ("openvino", "OpenVINO"), ("tflite", "LiteRT"), ("coreml", "")):
        backend = target.get(name)
        path = folder / f"ours-{name}{backend.suffix}"
        options = target.EmitOptions(precision=backend.default_precision, io=backend.default_io)
        begin = time.perf_counter()
        graph = passes.optimise(build.build(weights, size=size))
        backend.emit(half.prepare(graph) if options.precision == "fp16" else graph, path, options)
        found.append(Contender(OURS, runtime, sys.executable, path, time.perf_counter() - begin))
    return found


def exported(weights: peerlib.Arrays, size: int, folder: Path) -> list[Contender]:
    """torch.onnx.export, as it is on onnxruntime, and read by OpenVINO."""
    from benchmarks import peers_onnx

    begin = time.perf_counter()
    name, model = peers_onnx.export(weights, size)
    seconds = time.perf_counter() - begin
    path = folder / "exported.onnx"
    path.write_bytes(model)
    return [Contender(name, runtime, sys.executable, path, seconds) for runtime in ("onnxruntime", "OpenVINO")]


exported.__name__ = "torch.onnx.export"


def core_ml(weights: peerlib.Arrays, size: int, folder: Path) -> list[Contender]:
    """coremltools.convert; nothing here runs it."""
    from benchmarks import peers_coreml

    path = folder / "peer.mlpackage"
    with peers_coreml.quiet():
        seconds = peers_coreml._write_theirs(path, size)
    return [Contender("coremltools.convert", "", sys.executable, path, seconds)]


core_ml.__name__ = "coremltools.convert"

# Peer -> the runtime that runs its file, and the file's suffix.
CHILDREN = {
    "litert-torch": ("LiteRT", ".tflite"),
    "executorch": ("ExecuTorch", ".pte"),
    "MNN": ("MNN", ".mnn"),
    "ncnn": ("ncnn", ".param"),
}
Maker = Callable[[peerlib.Arrays, int, Path], list[Contender]]


def in_environment(name: str) -> Maker:
    """The conversion of a peer in its own environment."""
    runtime, suffix = CHILDREN[name]

    def make(weights: peerlib.Arrays, size: int, folder: Path) -> list[Contender]:
        python = peer_environments.ensure(name, lambda line: click.echo(line, err=True))
        path = folder / f"{name}{suffix}"
        given = [str(folder / "idn.safetensors"), str(folder / "exported.onnx"), str(size), str(path)]
        command = [str(python), str(HERE / "peer_convert.py"), name, *given]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not path.exists():
            raise CheckFailed(f"{name} could not convert the network: {last_line(done.stderr) or 'no reason given'}")
        said = json.loads(done.stdout.strip().splitlines()[-1])
        # LiteRT is the same for both files: the one that is installed here.
        runs = sys.executable if runtime == "LiteRT" else str(python)
        return [Contender(f"{name} {said['version']}", runtime, runs, path, said["seconds"])]

    make.__name__ = name
    return make


def compare(contenders: Sequence[Contender], folder: Path, threads: Sequence[int], turns: int) -> list[Row]:
    """A row per contender: what it computes, and how fast, at each thread count."""
    expected = _expected(folder)
    rows = {one.key: _row(one) for one in contenders}
    for count in threads:
        children = {}
        for one in contenders:
            if one.runtime and rows[one.key].status == "ok":
                child = Child(one.runtime, one.python, one.path, folder, count)
                children[one.key] = child
                rows[one.key] = _checked(rows[one.key], child, expected)
        able = {key: child for key, child in children.items() if rows[key].status == "ok"}
        taken = race(able, turns)
        for child in children.values():
            child.end()
        for key in able.keys() - taken.keys():
            rows[key] = rows[key].model_copy(update={"status": "failed", "reason": children[key].reason})
        for key, timed in _timed(taken, [one for one in contenders if one.key in taken], count).items():
            rows[key] = rows[key].model_copy(update={"timed": (*rows[key].timed, timed)})
    return list(rows.values())


def _row(one: Contender) -> Row:
    runtime = one.runtime or "Core ML (not run: needs macOS)"
    return Row(
        contender=one.name,
        ours=one.name == OURS,
        runtime=runtime,
        status="ok",
        conversion_s=one.seconds,
        bytes=one.bytes,
    )


def _expected(folder: Path) -> np.ndarray:
    """What the plain network makes of the image, by onnxruntime."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(folder / "exported.onnx"), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(["swapped"], {"image": np.load(folder / "image.npy")})[0]
    return found


def _checked(row: Row, child: Child, expected: np.ndarray) -> Row:
    """``row`` with what the child says of itself."""
    if child.reason:
        return row.model_copy(update={"status": "failed", "reason": child.reason})
    difference = float(np.abs(np.load(child.out) - expected).max())
    found = row.model_copy(update={"runtime": child.runtime, "max_difference": difference})
    if difference <= TOLERANCE:
        return found
    reason = f"its picture differs by {difference:.2g}"
    return found.model_copy(update={"status": "wrong", "reason": reason})


def _timed(taken: Mapping[str, np.ndarray], contenders: Sequence[Contender], threads: int) -> dict[str, Timed]:
    """Each contender held against ours on its runtime, or against our fastest."""
    mine = {one.runtime: one.key for one in contenders if one.name == OURS}
    if not mine:
        raise CheckFailed("none of our files ran; see mfs-edge doctor")
    fastest = min(mine.values(), key=lambda key: float(np.median(taken[key])))
    found = {}
    for one in contenders:
        key = one.key
        against = mine.get(one.runtime, fastest)
        low, median, high = (float(value) for value in np.percentile(taken[key], (25, 50, 75)))
        less, ratio, more = (float(value) for value in np.percentile(taken[key] / taken[against], (25, 50, 75)))
        found[key] = Timed(
            threads=threads, median_ms=median, low_ms=low, high_ms=high,
            against=against, ratio=ratio, ratio_low=less, ratio_high=more,
        )  # fmt: skip
    return found
