"""What runs inside: an artefact on given pictures, with a mark before and after each frame.

    python inside.py ARTEFACT IMAGES.npy OUTPUTS.npz [--frames N]

It stands alone as the runner does, which lies beside it with the engine and its other files: numpy and
the artefact's runtime are all they import. Outside an emulator the marks do nothing, and the same
file gives this machine's own outputs to compare with. One thread; no clock is read.

``IMAGES`` is float32 [N, 3, S, S], RGB in 0..1. ``OUTPUTS`` gets ``swapped`` [N, 3, S, S] and
``mask`` [N, 1, S, S], float32 in 0..1, whatever types and layout the file itself has.
"""

from __future__ import annotations

import argparse
import bisect
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import frames  # type: ignore[import-not-found]
import machine  # type: ignore[import-not-found]
import runner  # type: ignore[import-not-found]

MARK = 0x6D6673  # as in plugin.c


def mark() -> None:
    """Have the emulator log its count; without one this asks for the priority of no process."""
    try:
        os.getpriority(os.PRIO_PROCESS, MARK)
    except OSError:
        return


def mappings(path: str) -> list[tuple[int, int, int]]:
    """Start, end and resident bytes of every mapping in a ``maps`` or ``smaps`` file."""
    found: list[tuple[int, int, int]] = []
    for line in machine.read(path).splitlines():
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
    return int(machine.peak_rss()) - overhead()


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Load, run every frame between two marks, write the outputs."""
    import numpy as np

    images = np.load(options.images)
    given = argparse.Namespace(artefact=options.artefact, units="")
    loaded = runner.load(runner.engine(""), given, 1)
    ((name, (shape, dtype)),) = loaded.inputs.items()
    feeds = [{name: frames.as_taken(image[None], shape, dtype)} for image in images]
    peaks = [memory()]
    outputs: dict[str, list[Any]] = {}
    count = options.frames or len(images)
    for number in range(count):
        loaded.feed(feeds[number])
        mark()
        loaded.infer()
        mark()
        for told, value in frames.as_told(loaded.fetch()).items():
            outputs.setdefault(told, []).append(value)
        if number == 0:
            peaks.append(memory())
        runner.emit("progress", done=(number + 1) / count, left_s=0.0)
    joined: dict[str, Any] = {told: np.concatenate(values) for told, values in outputs.items()}
    np.savez(options.outputs, **joined)
    return {
        "frames": count,
        "peak_rss_bytes": max(*peaks, memory()),
        "coverage": loaded.coverage(),
        "runtime": loaded.title,
        "runtime_version": loaded.version,
        "python": platform.python_version(),
        "arch": platform.machine(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """See ``runner.answer``."""
    parser = argparse.ArgumentParser(description="Run one artefact on given pictures.")
    parser.add_argument("artefact")
    parser.add_argument("images")
    parser.add_argument("outputs")
    parser.add_argument("--frames", type=int, default=0, help="0: all of them")
    options = parser.parse_args(arguments)
    return int(runner.answer(lambda: run(options), "input"))


if __name__ == "__main__":
    sys.exit(main())
