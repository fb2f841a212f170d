"""What enrolment loses and how long it takes, beside torch: ``python -m benchmarks.enrol [--target T]``.

The demo's networks. Fidelity: 20 drawn faces, each swapped onto 2 pictures, against the torch path in float64.
Time: one crop to its 25,264 numbers, on as many threads, in turns with torch's float32 ArcFace and IIN.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import numpy as np

from mfs_edge import enrolment, sample, target
from mfs_edge.base import images
from mfs_edge.enrolment import storage
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.sample import weights
from mfs_edge.target import ENROL, EmitOptions
from mfs_edge.verify import enrolment as judge

FACES = 20


@click.command()
@click.option("--target", "names", multiple=True, default=("onnx", "openvino", "tflite", "c"), show_default=True)
@click.option("--precision", "precisions", multiple=True, default=storage.PRECISIONS, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--runs", default=20, show_default=True)
def main(names: tuple[str, ...], precisions: tuple[str, ...], threads: int, runs: int) -> None:
    """Print one line per target and precision."""
    arcface, iin = (weights.checkpoint(name) for name in ("arcface", "iin"))
    plan = enrolment.plain()
    faces = [sample.target(number) for number in range(FACES)]
    exam = judge.examined(arcface, iin, partial(enrolment.decoded, plan=plan), faces=faces)
    torch = _torch(arcface, iin, threads)
    click.echo("target precision MB | mean dB, worst dB | ms, torch's ms, ratio (quartiles)")
    with tempfile.TemporaryDirectory() as folder:
        for precision in precisions:
            model = storage.store(enrolment.coded(enrolment.trunk(arcface.tensors, iin.tensors), plan), precision)
            for kind in map(target.get, names):
                path = Path(folder) / f"{precision}{kind.suffix}"
                kind.emit(model, path, EmitOptions(precision, task=ENROL))
                size = target.artefact_of(kind, path).size / 1e6
                loaded = kind.load(path, threads=threads)
                found = judge.measured(loaded.enrol, exam)["swapped"]
                pairs = _raced(partial(loaded.enrol, images.to_nchw(faces[0])), partial(torch, faces[0]), runs)
                ours, theirs = np.median(pairs, axis=0) * 1000
                low, ratio, high = np.percentile(pairs[:, 0] / pairs[:, 1], (25, 50, 75))
                click.echo(
                    f"{kind.name} {precision} {size:.1f} | {found.psnr_mean:.1f}, {found.psnr_worst:.1f} | "
                    f"{ours:.0f}, {theirs:.0f}, {ratio:.2f} ({low:.2f}..{high:.2f})"
                )


def _torch(arcface: Checkpoint, iin: Checkpoint, threads: int) -> Callable[[np.ndarray], object]:
    """Torch's own for the same work: ArcFace and the IIN, loaded once, in float32."""
    import torch

    from mfs_edge.face import crop as crops
    from mfs_edge.networks import arcface as networks
    from mfs_edge.networks import loading
    from mfs_edge.networks.iin import IIN

    torch.set_num_threads(threads)
    reader = loading.instantiate(networks.ArcFace, arcface.tensors)
    injector = loading.instantiate(IIN, iin.tensors)

    def run(face: np.ndarray) -> object:
        pixels = crops.reduced(face).transpose(2, 0, 1)[None] / np.float32(255)
        return injector(*reader(torch.from_numpy(np.ascontiguousarray(pixels))))

    return run


def _raced(ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> np.ndarray:
    """Seconds of each in turns, [runs, 2]; the first turn is not counted."""
    found = np.zeros((runs + 1, 2))
    for turn in range(runs + 1):
        for column, work in enumerate((ours, theirs)):
            start = time.perf_counter()
            work()
            found[turn, column] = time.perf_counter() - start
    return found[1:]


if __name__ == "__main__":
    main()
