"""A Raspberry Pi's CPU, emulated: does it give the same picture there, and for how many instructions?

Nothing here is a time. The picture is compared with a reference (an ``.npz`` of ``images``,
``swapped`` and ``mask``) that is handed in or lies beside the artefact as ``reference.npz``, or
else with what this machine's own runtime makes of the same file.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfs_edge import target
from mfs_edge.base import extras, fidelity, files
from mfs_edge.base.errors import CheckFailed, InputError, UsageError
from mfs_edge.emulation import count, setup
from mfs_edge.emulation.boards import BOARDS, Board
from mfs_edge.emulation.environment import Environment, Say, tell
from mfs_edge.measure import facts, luggage, picture
from mfs_edge.measure.devices import THIS_MACHINE, Device, Options, Request, Watch, device
from mfs_edge.measure.results import Coverage, Machine, Observation
from mfs_edge.sample.pictures import exam_pictures

MEANING = (
    "instructions are counted on an emulated CPU: they say how much work a frame is, not how long it takes "
    "(caches, memory and clock are not emulated), and compare only with counts on the same CPU"
)
REFERENCE = "reference.npz"
# Whose runtimes die in QEMU's user mode.
CANNOT = {"openvino": "OpenVINO dies in the emulator; measure its files with --device local or ssh:"}


@dataclass(frozen=True)
class Reference:
    """Pictures and what should come out of them.

    Attributes:
        images: float32 [N, 3, S, S], RGB in 0..1.
        outputs: "swapped" [N, 3, S, S] and "mask" [N, 1, S, S], in 0..1.
        name: for messages.
        min_psnr: dB that each output must reach.
    """

    images: np.ndarray
    outputs: count.Outputs
    name: str
    min_psnr: float


class EmulatedDevice:
    """See ``devices.Device``; whoever shows its counts shows :data:`MEANING` once.

    Attributes:
        reference: an ``.npz`` to compare with; None looks beside the artefact.
    """

    host = THIS_MACHINE  # it takes the CPU that local timings would be taken on

    def __init__(self, board: Board, *, reference: Path | None = None, say: Say = tell) -> None:
        self.name = f"emulated:{board.name}"
        self.board = board
        self.reference = reference
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
        """See ``devices.Device``; how many frames and threads is not the request's to say.

        Raises:
            CheckFailed: the picture is not the reference's.
        """
        files.require_file(artefact, "artefact")
        built = setup.ensure(self.say)
        expected = self._expected(artefact, watch)
        images = expected.images if isinstance(expected, Reference) else expected
        ran, instructions = count.emulate(built, self.board, artefact, images, watch=watch, say=self.say)
        notes = [self._judge(artefact, expected, ran)]
        if request.threads not in (None, 1):
            notes.append(f"{self.name} runs one thread; --threads {request.threads} does not apply")
        coverage = ran.said["coverage"]
        return Observation(
            machine=self._machine(built, ran),
            instructions=instructions,
            coverage=Coverage(**coverage) if coverage else None,
            peak_rss_bytes=ran.said["peak_rss_bytes"],
            notes=tuple(notes),
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

    def _expected(self, artefact: Path, watch: Watch) -> Reference | np.ndarray:
        """What to compare with; the bare pictures where nothing is at hand."""
        kind = Kind.of(artefact)
        beside = artefact.parent / REFERENCE
        reference = self.reference or (beside if beside.exists() else None)
        if reference is not None:
            return read_reference(reference, kind)
        pictures = images(kind.size)
        if target.missing(target.of_file(artefact), running=True):
            return pictures
        ours = count.here(artefact, pictures, python=sys.executable, watch=Watch(cancelled=watch.cancelled))
        name = f"{ours.said['runtime']} {ours.said['runtime_version']} on this machine{_proof(artefact)}"
        level = picture.SAME_RUNTIME_PSNR["int8" if kind.io == "uint8" else kind.precision]
        return Reference(pictures, ours.outputs, name, level)

    def _judge(self, artefact: Path, expected: Reference | np.ndarray, ran: count.Ran) -> str:
        """One line on the picture.

        Raises:
            CheckFailed: it is not the reference's.
        """
        if not isinstance(expected, Reference):
            return f"{artefact.name} on {self.name}: its picture was not compared: no runtime for it is installed here"
        found = compare(ran.outputs, expected)
        said = ", ".join(f"{name} {_level(f.psnr_mean)} (max {f.max_abs:.1e})" for name, f in found.items())
        if not fidelity.passes(found, expected.min_psnr):
            raise CheckFailed(
                f"{artefact.name}: on {self.name} its picture is not that of {expected.name} "
                f"({said}; {expected.min_psnr:g} dB are needed); update the runtime, or compile it again"
            )
        return f"{artefact.name} on {self.name}: the picture of {expected.name}: {said}"


def compare(outputs: count.Outputs, expected: Reference) -> dict[str, fidelity.Fidelity]:
    """As ``mfs_edge.verify`` compares, over all N images: "swapped" [N, 3, S, S] and "mask" [N, 1, S, S]."""

    def each(joined: count.Outputs) -> list[fidelity.Outputs]:
        return [{name: value[i : i + 1] for name, value in joined.items()} for i in range(len(expected.images))]

    return fidelity.between(each(outputs), each(expected.outputs))


def read_reference(path: Path, kind: Kind) -> Reference:
    """A reference of ``images``, ``swapped`` and ``mask``.

    Raises:
        InputError: it is damaged, lacks one of them, or is for another size.
    """
    files.require_file(path, "reference (.npz of images, swapped and mask)")
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in ("images", *fidelity.OUTPUT_NAMES)}
    except Exception as error:  # zipfile's, numpy's and KeyError share no base
        raise InputError(f"{path}: is not a reference ({type(error).__name__}: {error}); write it again") from error
    pictures = np.asarray(arrays.pop("images"), np.float32)
    side = kind.size
    if pictures.shape[1:] != (3, side, side) or len(pictures) < 2:
        raise InputError(f"{path}: its images are {list(pictures.shape)}; needed are 2 or more of [3, {side}, {side}]")
    level = fidelity.default_min_psnr(kind.precision, kind.io)
    return Reference(pictures, arrays, f"the reference {path.name}", level)


def images(size: int) -> np.ndarray:
    """The pictures that artefacts are verified on; without OpenCV, noise alone.

    Returns:
        float32 [N, 3, size, size] in 0..1.
    """
    if extras.available("cv2"):
        return np.concatenate(exam_pictures(size))
    return np.random.default_rng(0).random((4, 3, size, size), dtype=np.float32)


@dataclass(frozen=True)
class Kind:
    """What an artefact takes, read from its file.

    Attributes:
        size: its side in pixels.
        precision: as in ``fidelity.DEFAULT_MIN_PSNR``.
        io: "uint8" or "float32".
    """

    size: int
    precision: str
    io: str

    @classmethod
    def of(cls, artefact: Path) -> Kind:
        """Raises InputError if it takes no square picture of known size."""
        program = target.of_file(artefact).read(artefact)
        size = luggage.picture_size(program)
        if size is None:
            shape = program.takes[0].shape if program.takes else None
            raise InputError(f"{artefact}: takes {shape}, not one square picture; compile it with a fixed size")
        types = {each.dtype.lower() for each in program.values.values()}
        precision = "int8" if types & {"int8", "i8"} else "fp16" if types & {"float16", "fp16"} else "fp32"
        return cls(size, precision, "uint8" if program.takes[0].dtype == "uint8" else "float32")


def _proof(artefact: Path) -> str:
    """What the manifest beside it says of this very file's verification."""
    entry = facts.recorded(artefact)
    return f" (verification there: {entry.verification.status})" if entry is not None else ""


def _level(psnr: float) -> str:
    return "identical" if psnr >= fidelity.PSNR_CEILING else f"{psnr:.0f} dB"


@device("emulated", f"emulated:{'|'.join(BOARDS)}", available=setup.available)
def open_emulated(address: str, options: Options) -> Device:
    if address not in BOARDS:
        boards = ", ".join(f"emulated:{name}" for name in BOARDS)
        raise UsageError(f"--device emulated:{address}: is no board; there are {boards}")
    return EmulatedDevice(BOARDS[address])
