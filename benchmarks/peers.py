"""What a user would pick instead: every usual way from the network to a device, beside ours.

The same folded network (the embedded demo's) goes through torch.onnx.export, OpenVINO, litert-torch,
ExecuTorch with XNNPACK, MNN, ncnn, IREE, emx-onnx-cgen and coremltools.convert, where need be in an
environment of its own (``peers.toml``; kept in the cache folder), and through mfs-edge. All of them
then run in turns, each in its own process, a few frames at a time. What fails is recorded as such.

    python benchmarks/peers.py all
    python benchmarks/peers.py all --only onnx --only litert-torch --size 256 --json FILE
    python benchmarks/peers.py emulated
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, only this folder is on the path

from benchmarks import emulated, peer_plot, peerlib
from benchmarks.peer_contenders import CONTENDERS, EXPORT, INT8, NAMES, OURS, Contender, convert, select
from benchmarks.peer_race import Child, Race, race
from mfs_edge import bench, target
from mfs_edge.base import fidelity
from mfs_edge.base.errors import CheckFailed
from mfs_edge.base.fidelity import Outputs
from mfs_edge.emulation.boards import BOARDS
from mfs_edge.measure.results import Report

RESULTS = Path(__file__).parent / "results" / "peers.json"
TOLERANCE = {"coreml": 0.02}  # bytes, computed in half precision
DEFAULT_TOLERANCE = 1e-4
WARM_UP = 5
NETWORK = "the demo's first identity, float32"
NOTE = (
    f'{NETWORK}. Medians and quartiles of bursts in turns; "of ours" is the time in units of our file\'s on the same '
    "runtime, or of our fastest where we write nothing for it."
)


@click.group()
def main() -> None:
    """Compare our artefacts with those of other toolchains, on the same network."""


@main.command("all", help=__doc__, short_help="Everything a user would pick instead, in one run.")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="A converter or runtime; ours are beside it.")
@click.option("--size", "sizes", type=int, multiple=True, default=(224,), show_default=True)
@click.option("--threads", type=int, multiple=True, default=(1, 2), show_default=True)
@click.option("--turns", type=int, default=40, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), help=f"Without --only: {RESULTS.name} and beside it.")
@peerlib.told()
def everybody(
    only: tuple[str, ...], sizes: tuple[int, ...], threads: tuple[int, ...], turns: int, path: Path | None
) -> None:
    files: list[peerlib.Row] = []
    runs: list[peerlib.Row] = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            contenders, made = convert(select(only), size, Path(folder))
            files += made
            runs += [row for count in threads for row in compare(contenders, Path(folder), count, turns, size)]
    peerlib.show(f"{NETWORK}: files", files)
    peerlib.show(f"{NETWORK}: in turns", runs)
    if into := path or (None if only else RESULTS):
        peerlib.save(into, {"network": NETWORK, "files": files, "runs": runs})
        into.with_suffix(".md").write_text(peerlib.markdown(files) + "\n" + peerlib.markdown(runs) + f"\n{NOTE}\n")
        peer_plot.draw(runs, into.with_suffix(".png"))


def compare(contenders: Sequence[Contender], folder: Path, threads: int, turns: int, size: int) -> list[peerlib.Row]:
    """A row per contender: what it computes, and how fast."""
    children = {one: Child(*one.command, one.path, folder, threads) for one in contenders if one.unrunnable is None}
    expected = _expected(folder)
    for one, child in children.items():
        _check(one, child, expected)
    able = {one.key: child.burst for one, child in children.items() if not child.reason}
    taken = race(able, turns=turns, warmup=WARM_UP)
    for child in children.values():
        child.end()
    against = _against(contenders, taken)
    rows: list[peerlib.Row] = []
    for one in contenders:
        named = {"converted by": one.name, "runtime": one.runtime, "px": size, "threads": threads}
        found = _ran(children[one]) if one in children else {"status": one.unrunnable}
        rows.append({**named, **found, **_timed(one.key, against, taken)})
    return rows


def _expected(folder: Path) -> Outputs:
    """What the plain network makes of the picture, by onnxruntime."""
    return target.get("onnx").load(folder / f"{EXPORT}.onnx").run(np.load(folder / "images.npy"))


def _check(one: Contender, child: Child, expected: Outputs) -> None:
    """A reason not to time it: it does not run, or its picture is another."""
    if child.reason:
        return
    (found,) = child.outputs
    difference = child.said["difference"] = max(float(np.abs(found[name] - expected[name]).max()) for name in found)
    if not difference <= TOLERANCE.get(one.runtime, DEFAULT_TOLERANCE):
        child.reason = f"wrong: its picture differs by {difference:.2g}"


def _ran(child: Child) -> dict[str, Any]:
    """What it says of itself."""
    found: dict[str, Any] = {"status": child.reason or "ok"}
    if not child.said:
        return found
    coverage = child.said["coverage"] or {}
    different = f"{child.said['difference']:.0e}"
    return {"runtime": child.said["runtime"], "partitions": coverage.get("partitions"), "differs": different, **found}


def _against(contenders: Sequence[Contender], taken: Race) -> Mapping[str, str]:
    """Who each that ran is held against: ours on its runtime, or our fastest."""
    ran = [one for one in contenders if one.key in taken.turns]
    mine = {one.runtime: one.key for one in ran if one.ours}
    if ran and not mine:
        raise CheckFailed("none of our files ran; see mfs-edge doctor")
    fastest = min(mine.values(), key=lambda key: taken.quartiles(key)[1], default="")
    return {one.key: mine.get(one.runtime, fastest) for one in ran}


def _timed(key: str, against: Mapping[str, str], taken: Race) -> dict[str, Any]:
    """How fast; nothing of what did not run to the end."""
    if key not in against:
        return {}
    low, median, high = taken.quartiles(key)
    best, processor = float(taken.turns[key][:, 0].min()), float(np.median(taken.turns[key][:, 1]))
    times = {"median ms": median, "quartiles": (low, high), "best ms": best, "CPU ms": processor}
    ratio, in_cpu_time = taken.ratio(key, against[key])
    return {**times, "of ours": ratio, "its quartiles": taken.spread(key, against[key]), "in CPU time": in_cpu_time}


@main.command("emulated", short_help="Instructions per frame on emulated Raspberry Pis.")
@click.option("--size", type=int, default=224, show_default=True)
@click.option("--board", "boards", multiple=True, type=click.Choice(list(BOARDS)), default=tuple(BOARDS))
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the results here too.")
@peerlib.told()
def on_boards(size: int, boards: tuple[str, ...], path: Path | None) -> None:
    """Instructions per frame on emulated Raspberry Pis: the usual exports for onnxruntime and LiteRT beside our files.

    Our int8 files of the same network are beside them. One thread; no time.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted = [one for one in (*CONTENDERS, *INT8) if one.suffix in {each.suffix for each in INT8}]
        contenders, made = convert(wanted, size, Path(folder))
        files = dict.fromkeys(one.path for one in contenders)
        found = bench(*files, device=[f"emulated:{name}" for name in boards], time=False, json=path)
        _of_one_network(found)
    peerlib.show(f"{NETWORK}, or int8: files", made)
    emulated.show(found, "our fp32", lambda file, device: (OURS + Path(file).suffix, device))


def _of_one_network(found: Report) -> None:
    """Counts mean nothing otherwise: every picture is that of our fp32 for its runtime.

    Raises:
        CheckFailed: one is another.
    """
    pictures = {entry.facts.file: entry.observation.picture for entry in found.entries}
    seen = {file: np.array(picture.swapped) for file, picture in pictures.items() if picture}
    for file, values in seen.items():
        if fidelity.psnr(values - seen[OURS + Path(file).suffix]) < fidelity.DEFAULT_MIN_PSNR["int8"]:
            raise CheckFailed(f"{file} gives another picture than ours; it is not of the same network")


if __name__ == "__main__":
    main()
