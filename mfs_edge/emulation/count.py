"""Start an artefact in the emulator, and count.

The emulator counts every instruction; the program inside marks the counter before and after
each frame, and a frame costs the difference of the two. The first frame of a process is left
out: it fills caches. Frames of two processes are pooled, as some of what little varies
(addresses, and with them the loops that align copies) is drawn once per process.
"""

from __future__ import annotations

import concurrent.futures
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge import target
from mfs_edge.base import cpus, files
from mfs_edge.base.errors import DeviceError
from mfs_edge.emulation.boards import Board
from mfs_edge.emulation.environment import Environment, Say
from mfs_edge.measure import luggage
from mfs_edge.measure.devices import Watch, talk
from mfs_edge.measure.observed import Instructions

BOARD = target.Machine("Linux", "aarch64")
SHORT = 3  # frames of the second process
Outputs = dict[str, np.ndarray]  # "swapped" [N, 3, S, S] and "mask" [N, 1, S, S], float32 in 0..1


@dataclass(frozen=True)
class Ran:
    """One process: what came out, what it said, and instructions per frame (none if it did not count)."""

    outputs: Outputs
    said: dict[str, Any]
    frames: tuple[int, ...] = ()


def emulate(
    environment: Environment, board: Board, artefact: Path, images: np.ndarray, *, watch: Watch, say: Say
) -> tuple[Ran, Instructions]:
    """The artefact on every image, and what a frame costs.

    Args:
        images: float32 [N, 3, S, S], N at least 2.

    Raises:
        DeviceError: it died inside.
        InputError: the runtime cannot load it.
        MissingDependency: its runtime has no wheel for aarch64.
        Cancelled: ``watch.cancelled`` was set.
    """
    modules = environment.modules(artefact.suffix, say)
    lone = Watch(cancelled=watch.cancelled)
    jobs = [(len(images), _with_time_left(watch)), (min(SHORT, len(images)), lone)]

    def start(job: tuple[int, Watch]) -> Ran:
        return _inside(environment, board, artefact, images[: job[0]], modules, job[1])

    workers = min(2, cpus.usable())
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        full, short = pool.map(start, jobs)
    return full, summarise(environment.cpu(board), [full.frames, short.frames])


def summarise(cpu: str, processes: Sequence[Sequence[int]]) -> Instructions:
    """Median and spread over all frames but each process's first."""
    samples = [float(count) for frames in processes for count in frames[1:]]
    median = float(np.median(samples))
    return Instructions(
        cpu=cpu, median=median, spread=(max(samples) - min(samples)) / 2 / median, samples=tuple(samples)
    )


def _inside(
    environment: Environment, board: Board, artefact: Path, images: np.ndarray, modules: list[Path], watch: Watch
) -> Ran:
    with files.temporary_folder() as scratch:
        log = scratch / "counts"
        arguments = _arguments(scratch, artefact, images)
        command = environment.command(board, arguments, log=log, modules=modules)
        where = f"emulated:{board.name}"
        ran = _converse(command, artefact.name, where, scratch, watch)
        marks = [int(line) for line in log.read_text().split()] if log.exists() else []
    if len(marks) != 2 * len(images):
        raise DeviceError(f"{where}: {len(marks)} marks instead of {2 * len(images)} were counted; report this")
    frames = tuple(after - before for before, after in zip(marks[::2], marks[1::2], strict=True))
    return Ran(ran.outputs, ran.said, frames)


def _arguments(scratch: Path, artefact: Path, images: np.ndarray) -> list[str]:
    """What a real Pi would be sent, and the program around it, in ``scratch``."""
    for name, content in luggage.pack(artefact).files.items():
        (scratch / name).write_bytes(content)
    shutil.copyfile(Path(__file__).with_name("inside.py"), scratch / "inside.py")
    np.save(scratch / "images.npy", np.asarray(images, np.float32))
    if target.of_file(artefact).compiled:  # what is made for the board lies beside the rest there, as on a real one
        for name, content in luggage.contents(artefact, BOARD).items():
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).write_bytes(content)
        artefact = scratch / artefact.name
    return [
        str(scratch / "inside.py"),
        str(artefact.resolve()),
        str(scratch / "images.npy"),
        str(scratch / "outputs.npz"),
    ]


def _converse(command: list[str], file: str, where: str, scratch: Path, watch: Watch) -> Ran:
    ended = talk.converse(command, watch)
    said = talk.finished(ended, where=where, artefact=file)
    with np.load(scratch / "outputs.npz") as stored:
        return Ran(dict(stored), said)


def _with_time_left(watch: Watch) -> Watch:
    """Progress as this machine sees it; the guest's clock is not asked."""
    began = time.monotonic()

    def tell(done: float, _: float) -> None:
        watch.tell(done, (time.monotonic() - began) * (1 - done) / done)

    return Watch(tell=tell, cancelled=watch.cancelled)
