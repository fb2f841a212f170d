"""A Raspberry Pi's CPU, emulated: does it give the same picture there, and for how many instructions?

Nothing here is a time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mfs_edge import target
from mfs_edge.base import files
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.emulation import count, setup
from mfs_edge.emulation.boards import BOARDS, Board
from mfs_edge.emulation.environment import Environment, Say, tell
from mfs_edge.measure import luggage
from mfs_edge.measure.devices import THIS_MACHINE, Device, Options, Request, Watch, device
from mfs_edge.measure.observed import Coverage, Machine, Observation, Picture
from mfs_edge.sample import probe

MEANING = (
    "instructions are counted on an emulated CPU: they say how much work a frame is, not how long it takes "
    "(caches, memory and clock are not emulated), and compare only with counts on the same CPU"
)
FRAMES = 4
# Whose runtimes die in QEMU's user mode.
CANNOT = {"openvino": "OpenVINO dies in the emulator; measure its files with --device local or ssh:"}


class EmulatedDevice:
    """See ``devices.Device``; whoever shows its counts shows :data:`MEANING` once."""

    host = THIS_MACHINE  # it takes the CPU that local timings would be taken on

    def __init__(self, board: Board, *, say: Say = tell) -> None:
        self.name = f"emulated:{board.name}"
        self.board = board
        self.say = say

    def check(self) -> None:
        """Builds the environment where it is not there yet."""
        setup.ensure(self.say).cpu(self.board)

    def refuses(self, artefact: Path) -> str | None:
        kind = target.of_file(artefact)
        if kind.systems:
            return f"{kind.title} runs on {', '.join(kind.systems)} only"
        return CANNOT.get(kind.name)

    def measure(self, artefact: Path, request: Request, watch: Watch) -> Observation:
        """See ``devices.Device``; how many frames and threads is not the request's to say."""
        if not artefact.is_dir():  # some targets' artefacts are folders
            files.require_file(artefact, "artefact")
        built = setup.ensure(self.say)
        program = target.of_file(artefact).read(artefact)
        size = luggage.picture_size(program)
        if size is None:
            shape = program.takes[0].shape if program.takes else None
            raise InputError(f"{artefact}: takes {shape}, not one square picture; compile it with a fixed size")
        ran, instructions = count.emulate(built, self.board, artefact, images(size), watch=watch, say=self.say)
        seen = probe.seen({name: values[:1] for name, values in ran.outputs.items()})
        alone = f"{self.name} runs one thread; --threads {request.threads} does not apply"
        coverage = ran.said["coverage"]
        return Observation(
            machine=self._machine(built, ran),
            instructions=instructions,
            picture=Picture(swapped=seen[:, :3].tolist(), mask=seen[:, 3:].tolist()),
            coverage=Coverage(**coverage) if coverage else None,
            peak_rss_bytes=ran.said["peak_rss_bytes"],
            notes=() if request.threads in (None, 1) else (alone,),
        )

    def _machine(self, built: Environment, ran: count.Ran) -> Machine:
        return Machine(
            cpu=f"{built.cpu(self.board)} ({self.board.title}, emulated)",
            cores=1,
            os=f"QEMU {built.installed.qemu} user mode",
            arch=ran.said["arch"],
            python=ran.said["python"],
            runtime=ran.said["runtime"],
            runtime_version=ran.said["runtime_version"],
            threads=1,
        )


def images(size: int) -> np.ndarray:
    """What is run: the picture that tells whether it is the proven session, and noise that leaves no channel idle.

    Returns:
        float32 [FRAMES, 3, size, size] in 0..1.
    """
    noise = np.random.default_rng(0).random((FRAMES - 1, 3, size, size), dtype=np.float32)
    return np.concatenate([probe.picture(size), noise])


@device("emulated", f"emulated:{'|'.join(BOARDS)}", available=setup.available)
def open_emulated(address: str, options: Options) -> Device:
    if address not in BOARDS:
        boards = ", ".join(f"emulated:{name}" for name in BOARDS)
        raise UsageError(f"--device emulated:{address}: is no board; there are {boards}")
    return EmulatedDevice(BOARDS[address])
