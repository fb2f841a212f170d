"""Ours in a browser beside LiteRT.js and onnxruntime-web: one Chromium, one thread, in turns; downloads, first frames.

Ours is what target web writes, on either of its modules; the others run our own .onnx and .tflite, and what
torch.onnx.export makes of the same network. A frame goes from a JavaScript array to JavaScript arrays. "error" is the
greatest difference from what the same file gives outside of the browser, image and mask are PSNR against the float32
graph. "MB" is what a page fetches for its first frame, runtime included; "first" is from opening a page to that frame,
when everything lies in the browser's cache. WebGPU takes part where the browser has it.

``--camera SECONDS`` runs the demo's page on a camera of 640x480 instead, and tells frames per second, the delay until
the page hears an input, and its memory. Needs Chromium (apt-get install chromium), npm, and the extra "web".

    python benchmarks/web.py
    python benchmarks/web.py --turns 60 --json benchmarks/results/web.json
    python benchmarks/web.py --camera 300
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # run as a script, only this folder is on the path

# ruff: noqa: E402

from benchmarks import npm, peer_convert, peerlib
from benchmarks.native import graph
from benchmarks.peer_race import Race
from benchmarks.quantize import cpu, fidelity
from benchmarks.quantize_cases import Case, cases
from mfs_edge import target
from mfs_edge.base import frames
from mfs_edge.base.errors import CheckFailed
from mfs_edge.base.fidelity import Outputs
from mfs_edge.base.serving import Server
from mfs_edge.measure import chromium, luggage, runner
from mfs_edge.measure.devices.browser import HEADERS
from mfs_edge.target import EmitOptions

PAGE = HERE / "web"
PACKAGES = {"onnxruntime-web": "1.30.0", "@litertjs/core": "2.5.3"}
DRIVER = {"playwright-core": "1.64.1"}
OURS = {"relaxed SIMD": "idn-relaxed.wasm", "SIMD": "idn.wasm"}
RIVALS = {"tflite": "LiteRT.js", "onnx": "onnxruntime-web"}  # by the kind of file that they take
USUAL = "torch.onnx.export"
CAMERA = PAGE / "camera.mjs"


@dataclass(frozen=True)
class Contender:
    """One of a race: what the page is told of it, and what its outputs are compared with.

    Attributes:
        kind: a key of the page's KINDS: "web", "tflite", "onnx" or "webgpu".
        model, picture: paths below the served folder; of ours the model is the module.
        shape: of the picture, as the file takes it.
        outputs: names and lengths, in the order in which the page gives them.
    """

    name: str
    kind: str
    precision: str
    model: str
    picture: str
    shape: tuple[int, ...]
    outputs: list[dict[str, Any]]
    wanted: dict[str, np.ndarray] = field(repr=False)

    def told(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "wanted"}


class Heard:
    """What the pages post: times of the race, outputs, and first frames."""

    def __init__(self) -> None:
        self.outputs: dict[int, dict[str, np.ndarray]] = defaultdict(dict)
        self.first: dict[int, dict[str, float]] = {}
        self.told: dict[str, Any] = {}
        self.done = threading.Event()

    def receive(self, path: str, body: bytes) -> None:
        match path.strip("/").split("/"):
            case ["outputs", contender, name]:
                self.outputs[int(contender)][name] = np.frombuffer(body, np.float32)
            case ["first", contender]:
                self.first[int(contender)] = json.loads(body)
            case ["done"]:
                self.told |= json.loads(body)
                self.done.set()


@click.command(help=__doc__)
@click.option("--size", type=int, default=224, show_default=True)
@click.option("--precision", "precisions", type=click.Choice(["fp32", "int8"]), multiple=True, default=("fp32", "int8"))
@click.option("--turns", default=60, show_default=True)
@click.option("--chromium", "browser", default="", help="Its command.")
@click.option("--camera", type=int, default=0, help="Seconds of a camera instead.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here too.")
def main(size: int, precisions: tuple[str, ...], turns: int, browser: str, camera: int, json_path: Path | None) -> None:
    with peerlib.told():
        program = chromium.found(browser)
        version = " ".join(chromium.version(program))
        if camera:
            rows = [filmed(program, camera)]
            peerlib.show(f"The demo's page on a camera of 640x480 for {camera} s, in {version}, on {cpu()}", rows)
        else:
            load, rows = raced(program, size, precisions, turns)
            peerlib.show(f"demo, {size} px, one thread, in turns, in {version}, on {cpu()}", rows)
            if json_path is not None:
                said = {"cpu": cpu(), "browser": version, "packages": PACKAGES, "turns": turns, "load": load}
                peerlib.save(json_path, {**said, "rows": rows})


def raced(
    program: str, size: int, precisions: Sequence[str], turns: int
) -> tuple[tuple[float, float], list[dict[str, Any]]]:
    """The machine's load before and after, and a row for each contender."""
    (case,) = cases(("demo",), (size,), 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(PAGE, folder, dirs_exist_ok=True)
        (folder / "node_modules").symlink_to(npm.installed(PACKAGES))
        racing = [one for precision in precisions for one in contenders(case, precision, folder)]
        race = {"contenders": [one.told() for one in racing], "turns": turns, "warmup": max(turns // 3, 10)}
        (folder / "race.json").write_text(json.dumps(race))
        heard, before = Heard(), os.getloadavg()[0]
        with Server(folder, headers=HEADERS, receive=heard.receive).running() as server:
            chromium.visit(program, server.url, done=heard.done, patience_s=1800)
    if "error" in heard.told:
        raise CheckFailed(f"the page in {program}: {heard.told['error']}")
    # A browser without WebGPU leaves those contenders out, and says so by a time of null.
    there = [i for i, times in enumerate(heard.told["times"]) if times]
    return (before, os.getloadavg()[0]), judged(case, racing, there, heard)


def contenders(case: Case, precision: str, folder: Path) -> Iterator[Contender]:
    """Ours on each module, and both runtimes, in one precision; files go into ``folder``."""
    for kind in ("web", *RIVALS):
        backend = target.get(kind)
        path = folder / f"{precision}{backend.suffix}"
        backend.emit(graph(case, precision, products=backend.products), path, EmitOptions(precision=precision))
        yield from entered(case, precision, kind, path, folder)
    if precision == "fp32":
        yield from entered(case, precision, "onnx", exported(case, folder), folder, made=f", {USUAL}")


def entered(case: Case, precision: str, kind: str, path: Path, folder: Path, made: str = "") -> Iterator[Contender]:
    """The contenders that run the file at ``path``; what it gives outside of the browser is what they are to give."""
    engine: Any = runner.engine(str(luggage.engine_file(target.get(kind))))(str(path), 1)
    ((name, (shape, dtype)),) = engine.inputs.items()
    given = frames.as_taken(case.judge[0], shape, dtype)
    (folder / f"{path.name}.bin").write_bytes(given.tobytes())
    engine.feed({name: given})
    engine.infer()
    wanted = {name: np.array(value) for name, value in engine.fetch().items()}
    outputs = [{"name": name, "count": value.size} for name, value in wanted.items()]
    entries = {f"{RIVALS.get(kind, '')}{made}": (kind, path.name)}
    if kind == "web":
        entries = {f"ours, {simd}": (kind, f"{path.name}/{module}") for simd, module in OURS.items()}
    elif kind == "onnx" and not made:
        entries[f"{RIVALS[kind]}, WebGPU"] = ("webgpu", path.name)
    for title, (how, model) in entries.items():
        yield Contender(
            f"{title}, {precision}", how, precision, model, f"{path.name}.bin", tuple(shape), outputs, wanted
        )


def exported(case: Case, folder: Path) -> Path:
    """The same network by the usual export."""
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(value) for name, value in peerlib.demo_weights().items()}
    save_file(arrays, folder / "weights")
    size = case.judge[0].shape[-1]
    job = peer_convert.Job(str(folder / "weights"), "", size, folder / "exported.onnx")
    peer_convert.torch_onnx(job)()
    return job.out


def judged(case: Case, racing: Sequence[Contender], there: Sequence[int], heard: Heard) -> list[dict[str, Any]]:
    """A row for each that took part: how long, how many times faster ours of its precision is, and how near."""
    # A page has no clock of processor time: both columns are the wall's.
    times = {racing[i].name: np.array(heard.told["times"][i]) for i in there}
    taken = Race({name: np.stack([values, values], axis=1) for name, values in times.items()})
    return [row(case, racing[i], taken, heard.outputs[i], heard.first[i]) for i in there]


def row(
    case: Case, one: Contender, taken: Race, found: dict[str, np.ndarray], first: dict[str, float]
) -> dict[str, Any]:
    low, median, high = taken.quartiles(one.name)
    ours = f"ours, relaxed SIMD, {one.precision}"
    shaped: Outputs = {name: found[name].reshape(value.shape) for name, value in one.wanted.items()}
    errors = [np.abs(shaped[name] - value).max() for name, value in one.wanted.items()]
    quality = fidelity([frames.as_told(shaped)], case.expected[:1])
    return {
        "what": one.name, "ms": median, "quartiles": (low, high),
        "ours is faster": taken.ratio(one.name, ours)[0], "quartiles of that": taken.spread(one.name, ours),
        "MB": first["bytes"] / 1e6, "first, ms": first["ms"],
        "error": f"{max(errors):.1e}", "image": quality["image"], "mask": quality["mask"],
    }  # fmt: skip


def filmed(program: str, seconds: int) -> dict[str, Any]:
    """The page on Chromium's fake camera: frames per second, input delay and memory."""
    from mfs_edge.base.progress import Recorded
    from mfs_edge.load.identity import Identity
    from mfs_edge.pipeline import site
    from mfs_edge.sample import weights

    with np.load(HERE.parent / "tests" / "golden" / "check.npz") as stored:
        pairs = zip(stored["identity/embedding"], stored["identity/feature_map"], strict=True)
        people = [Identity(embedding, feature_map) for embedding, feature_map in pairs]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site.make(people, weights.checkpoint("iin"), folder, folder / "beside", steps=Recorded())
        shutil.copytree(folder / "beside", folder, dirs_exist_ok=True)
        with Server(folder).running() as server:
            asked = {"url": server.url, "modules": str(npm.installed(DRIVER)), "chromium": program, "seconds": seconds}
            command = [shutil.which("node") or "node", str(CAMERA), json.dumps(asked)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailed(f"the page on a camera: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    main()
