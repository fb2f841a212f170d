"""The generated C as WebAssembly beside LiteRT.js and onnxruntime-web: one page of Chromium, one thread, in turns.

The C is compiled by ziglang with plain and with relaxed SIMD. A frame goes from a JavaScript array
to JavaScript arrays. "error" is the greatest difference from what the same file gives outside of
the browser, image and mask are PSNR against the float32 graph. "MB" is what a page loads of ours, or
the model alone of the others, whose runtimes come on top.

Needs Chromium (apt-get install chromium), npm, and the extra "native".

    python benchmarks/chromium.py
    python benchmarks/chromium.py --turns 60 --json benchmarks/results/chromium.json
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # run as a script, only this folder is on the path

# ruff: noqa: E402

from benchmarks import peerlib
from benchmarks.browser import Page, opened
from benchmarks.native import graph
from benchmarks.peer_race import Race
from benchmarks.quantize import cpu, fidelity
from benchmarks.quantize_cases import Case, cases
from mfs_edge import target
from mfs_edge.base import frames
from mfs_edge.base.errors import CheckFailed, MissingDependency
from mfs_edge.base.fidelity import Outputs
from mfs_edge.measure import luggage, runner
from mfs_edge.target import EmitOptions

PAGE = HERE / "chromium"
PACKAGES = {"onnxruntime-web": "1.30.0", "@litertjs/core": "2.5.3"}
SIMD = {"simd128": ("-msimd128",), "relaxed SIMD": ("-msimd128", "-mrelaxed-simd")}
WASM = ("-std=c11", "-fno-sanitize=all", "-target", "wasm32-wasi", "-mexec-model=reactor", "-s")
RIVALS = {"tflite": "LiteRT.js", "onnx": "onnxruntime-web"}  # by the kind of file that they take


@dataclass(frozen=True)
class Contender:
    """One of a race: what the page is told of it, and what its outputs are compared with.

    Attributes:
        kind: a key of the page's KINDS, which is a target's name.
        model, weights, picture: paths below the served folder.
        shape: of the picture, as the file takes it.
        outputs: names and lengths, in the order in which the page gives them.
        megabytes: of what is loaded: the module and its weights, or a model.
    """

    name: str
    kind: str
    precision: str
    model: str
    weights: str
    picture: str
    shape: tuple[int, ...]
    outputs: list[dict[str, Any]]
    megabytes: float
    wanted: dict[str, np.ndarray] = field(repr=False)

    def told(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "wanted"}


@click.command(help=__doc__)
@click.option("--size", type=int, default=224, show_default=True)
@click.option("--precision", "precisions", type=click.Choice(["fp32", "int8"]), multiple=True, default=("fp32", "int8"))
@click.option("--turns", default=60, show_default=True)
@click.option("--chromium", default="chromium", show_default=True, help="Its command.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here too.")
def main(size: int, precisions: tuple[str, ...], turns: int, chromium: str, json_path: Path | None) -> None:
    (case,) = cases(("demo",), (size,), 1)
    with peerlib.told(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        installed(folder)
        for file in PAGE.glob("*.*"):
            shutil.copy(file, folder)
        racing = [one for precision in precisions for one in contenders(case, precision, folder)]
        page = opened(folder, [one.told() for one in racing], turns=turns, chromium=chromium)
        rows = judged(case, racing, page)
    peerlib.show(f"{case.name}, one thread, in turns, in {page.browser}, on {cpu()}", rows)
    if json_path is not None:
        said = {"cpu": cpu(), "browser": page.browser, "packages": PACKAGES, "turns": turns, "load": page.load}
        peerlib.save(json_path, {**said, "rows": rows})


def installed(folder: Path) -> None:
    """The runtimes of others, into ``folder``/node_modules."""
    npm = shutil.which("npm")
    if npm is None:
        raise MissingDependency("npm is not found; install it (apt-get install npm)")
    wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
    command = [npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", *wanted]
    run(command)


def contenders(case: Case, precision: str, folder: Path) -> Iterator[Contender]:
    """The C on each instruction set, and both runtimes, in one precision; files go into ``folder``."""
    for kind in ("c", *RIVALS):
        backend = target.get(kind)
        path = folder / f"{precision}{backend.suffix}"
        backend.emit(graph(case, precision, products=backend.products), path, EmitOptions(precision=precision))
        engine: Any = runner.engine(str(luggage.engine_file(backend)))(str(path), 1)
        ((name, (shape, dtype)),) = engine.inputs.items()
        given = frames.as_taken(case.judge[0], shape, dtype)
        (folder / f"{precision}-{kind}.bin").write_bytes(given.tobytes())
        engine.feed({name: given})
        engine.infer()
        wanted = {name: np.array(value) for name, value in engine.fetch().items()}
        for title, model in models(kind, path, folder).items():
            yield Contender(
                f"{title}, {precision}", kind, precision, model,
                f"{path.name}/idn.weights" if kind == "c" else "", f"{precision}-{kind}.bin", tuple(shape),
                [{"name": name, "count": value.size} for name, value in wanted.items()],
                loaded(folder / model, path / "idn.weights") / 1e6, wanted,
            )  # fmt: skip


def models(kind: str, path: Path, folder: Path) -> dict[str, str]:
    """Title of each contender of a kind -> its module or model, below ``folder``."""
    if kind != "c":
        return {RIVALS[kind]: path.name}
    return {
        f"C, {name}": compiled(path, folder / f"{path.stem}-{name.replace(' ', '-')}.wasm", flags).name
        for name, flags in SIMD.items()
    }


def compiled(code: Path, into: Path, flags: Sequence[str], level: str = "-O3") -> Path:
    """The folder of generated C as one WebAssembly module that imports nothing, by ziglang."""
    if importlib.util.find_spec("ziglang") is None:
        raise MissingDependency("ziglang is not installed; install it with: pip install 'mfs-edge[native]'")
    sources = [str(code / "idn.c"), str(PAGE / "module.c")]
    run([sys.executable, "-m", "ziglang", "cc", *WASM, level, *flags, f"-I{code}", *sources, "-o", str(into)])
    return into


def run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise CheckFailed(f"{' '.join(command[:4])}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")


def loaded(*files: Path) -> int:
    """Bytes of those that there are."""
    return sum(file.stat().st_size for file in files if file.exists())


def judged(case: Case, racing: Sequence[Contender], page: Page) -> list[dict[str, Any]]:
    """A row for each: how long, how many times faster the relaxed C of its precision is, and how near."""
    # A page has no clock of processor time: both columns are the wall's.
    taken = Race({one.name: np.stack([times, times], axis=1) for one, times in zip(racing, page.times, strict=True)})
    return [row(case, one, taken, page.outputs[i]) for i, one in enumerate(racing)]


def row(case: Case, one: Contender, taken: Race, found: dict[str, np.ndarray]) -> dict[str, Any]:
    low, median, high = taken.quartiles(one.name)
    ours = f"C, relaxed SIMD, {one.precision}"
    shaped: Outputs = {name: found[name].reshape(value.shape) for name, value in one.wanted.items()}
    errors = [np.abs(shaped[name] - value).max() for name, value in one.wanted.items()]
    quality = fidelity([frames.as_told(shaped)], case.expected[:1])
    return {
        "what": one.name, "ms": median, "quartiles": (low, high),
        "relaxed C is faster": taken.ratio(one.name, ours)[0], "quartiles of that": taken.spread(one.name, ours),
        "error": f"{max(errors):.1e}", "image": quality["image"], "mask": quality["mask"], "MB": one.megabytes,
    }  # fmt: skip


if __name__ == "__main__":
    main()
