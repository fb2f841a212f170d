"""What runs inside: an artefact on given pictures, with a mark before and after each frame.

    python run.py ARTEFACT IMAGES.npy OUTPUTS.npz [--frames N]

Like the runner beside it, whose engines and protocol it uses, it stands alone: numpy and the
artefact's runtime are all it imports. Outside an emulator the marks do nothing, and the same
file gives this machine's own outputs to compare with. One thread; no clock is read.

``IMAGES`` is float32 [N, 3, S, S], RGB in 0..1. ``OUTPUTS`` gets ``swapped`` [N, 3, S, S] and
``mask`` [N, 1, S, S], float32 in 0..1, whatever types and layout the file itself has.
"""

from __future__ import annotations

import argparse
import bisect
import importlib.util
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MARK = 0x6D6673  # as in plugin.c
CHANNELS = {3: "swapped", 1: "mask"}


def _runner() -> Any:
    """The file that a real Pi is sent, without the package around it."""
    spec = importlib.util.spec_from_file_location(
        "runner", Path(__file__).resolve().parents[1] / "measure" / "runner.py"
    )
    if spec is None or spec.loader is None:
        raise ImportError("runner.py is not beside this folder")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runner = _runner()


def mark() -> None:
    """Have the emulator log its count; without one this asks for the priority of no process."""
    try:
        os.getpriority(os.PRIO_PROCESS, MARK)
    except OSError:
        return


def as_taken(images: Any, shape: Sequence[Any], dtype: Any) -> list[Any]:
    """Each picture as an input of this shape and type takes it."""
    import numpy as np

    inside_out = len(shape) == 4 and shape[-1] == 3
    found = []
    for image in images:
        pixels = image.transpose(1, 2, 0) if inside_out else image
        if np.issubdtype(np.dtype(dtype), np.integer):
            pixels = np.rint(np.clip(pixels, 0, 1) * 255)
        found.append(np.ascontiguousarray(pixels[None], dtype))
    return found


def as_told(value: Any) -> tuple[str, Any]:
    """Name and real values [1, C, S, S] of one output."""
    import numpy as np

    if value.ndim != 4:
        raise runner.Failure("input", f"an output has {value.ndim} dimensions; outputs of a face swap have 4")
    planes = value if value.shape[1] in CHANNELS else value.transpose(0, 3, 1, 2)
    if planes.shape[1] not in CHANNELS:
        raise runner.Failure("input", f"an output is {list(value.shape)}; a face swap has 3 channels, its mask 1")
    real = planes.astype(np.float32)
    return CHANNELS[planes.shape[1]], real / np.float32(255) if value.dtype == np.uint8 else real


class Onnx:
    """An onnxruntime session, fed."""

    def __init__(self, loaded: Any, images: Any) -> None:
        self.session = loaded.session
        entry = self.session.get_inputs()[0]
        taken = as_taken(images, entry.shape, loaded.TYPES.get(entry.type, "float32"))
        self.feeds = [{entry.name: image} for image in taken]

    def frame(self, number: int) -> list[Any]:
        return list(self.session.run(None, self.feeds[number]))


class Tflite:
    """A LiteRT interpreter, fed."""

    def __init__(self, loaded: Any, images: Any) -> None:
        self.interpreter = loaded.interpreter
        entry = self.interpreter.get_input_details()[0]
        self.index = entry["index"]
        self.images = as_taken(images, [int(n) for n in entry["shape"]], entry["dtype"])
        self.outputs = [entry["index"] for entry in self.interpreter.get_output_details()]

    def frame(self, number: int) -> list[Any]:
        self.interpreter.set_tensor(self.index, self.images[number])
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(index) for index in self.outputs]


FED: dict[str, Any] = {".onnx": Onnx, ".tflite": Tflite}


def mappings(path: str) -> list[tuple[int, int, int]]:
    """Start, end and resident bytes of every mapping in a ``maps`` or ``smaps`` file."""
    found: list[tuple[int, int, int]] = []
    for line in runner.read(path).splitlines():
        head = line.split(" ", 1)[0]
        if not head.endswith(":"):
            start, end = (int(part, 16) for part in head.split("-"))
            found.append((start, end, 0))
        elif head == "Rss:":
            start, end, _ = found[-1]
            found[-1] = (start, end, int(line.split()[1]) * 1024)
    return found


def overhead() -> int:
    """Resident bytes of this process that are the emulator's own; 0 without one.

    QEMU shows the guest only the guest's mappings in /proc/self/maps, and the kernel's whole
    view in the file of the same content under task/ (linux-user/syscall.c, is_proc_myself).
    """
    own = sorted(start for start, _, _ in mappings("/proc/self/maps"))
    ends = {start: end for start, end, _ in mappings("/proc/self/maps")}
    total = 0
    for start, _, resident in mappings(f"/proc/self/task/{os.getpid()}/smaps"):
        place = bisect.bisect_right(own, start) - 1
        if place < 0 or start >= ends[own[place]]:
            total += resident
    return total


def memory() -> int:
    """Peak resident bytes so far, without the emulator's; a lower bound, as its share only grows."""
    return int(runner.peak_rss()) - overhead()


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Load, run every frame between two marks, write the outputs."""
    import numpy as np

    suffix = Path(options.artefact).suffix
    images = np.load(options.images)
    loaded = runner.load(runner.ENGINES[suffix], argparse.Namespace(artefact=options.artefact, units=None), 1)
    fed = FED[suffix](loaded, images)
    peaks = [memory()]
    outputs: dict[str, list[Any]] = {}
    frames = options.frames or len(images)
    for number in range(frames):
        mark()
        found = fed.frame(number)
        mark()
        for name, value in map(as_told, found):
            outputs.setdefault(name, []).append(value)
        if number == 0:
            peaks.append(memory())
        runner.emit("progress", done=(number + 1) / frames, left_s=0.0)
    if set(outputs) != set(CHANNELS.values()):
        raise runner.Failure("input", f"it gives {' and '.join(outputs)}, not a swapped picture and its mask")
    joined: dict[str, Any] = {name: np.concatenate(values) for name, values in outputs.items()}
    np.savez(options.outputs, **joined)
    return {
        "frames": frames,
        "peak_rss_bytes": max(*peaks, memory()),
        "coverage": loaded.coverage(),
        "runtime": loaded.runtime,
        "runtime_version": loaded.version,
        "python": platform.python_version(),
        "arch": platform.machine(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """0 and a ``result`` line, or 1 and an ``error`` line."""
    parser = argparse.ArgumentParser(description="Run one artefact on given pictures.")
    parser.add_argument("artefact")
    parser.add_argument("images")
    parser.add_argument("outputs")
    parser.add_argument("--frames", type=int, default=0, help="0: all of them")
    try:
        runner.emit("result", **run(parser.parse_args(arguments)))
    except runner.Failure as error:
        runner.emit("error", kind=error.kind, message=str(error))
        return 1
    except Exception as error:
        runner.emit("error", kind="input", message=f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
