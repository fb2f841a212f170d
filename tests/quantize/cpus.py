"""Artefacts on CPUs that this machine may not be: one with AVX2 and no VNNI is the one that saturates."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mfs_edge.emulation import apt, environment

CHILD = Path(__file__).with_name("child.py")
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2"}  # what OpenVINO's convolutions are told that the CPU has
X86 = platform.machine() in ("x86_64", "AMD64")


def haswell() -> list[str]:
    """A command that runs this Python on an emulated Haswell, AVX2 and no VNNI; on no x86, on this machine itself.

    The distribution's QEMU is fetched once and kept beside the emulated Raspberry Pi's, which has
    no use for this part of it.
    """
    if not X86:
        return []
    folder = environment.cache() / "haswell"
    with environment.lock(environment.cache()):
        if not folder.exists():
            _fetch(folder)
    *loader, emulator = environment.emulator(folder)
    return [*loader, str(Path(emulator).with_name("qemu-x86_64")), "-cpu", "Haswell"]


def _fetch(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=environment.UNFINISHED) as scratch:
        source = apt.Apt(apt.native(), Path(scratch, "apt"))
        source.resolve(("qemu-user",))
        source.unpack(("qemu-user",), Path(scratch, "new", "host"))
        Path(scratch, "new").rename(folder)


def run(
    paths: Iterable[Path],
    pictures: Sequence[np.ndarray],
    *,
    under: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> dict[str, np.ndarray]:
    """What each artefact makes of the pictures, in a process of its own: see ``child.py`` for the keys.

    Args:
        paths: artefacts.
        pictures: float32 [1, 3, S, S] in 0..1 each.
        under: a command that runs the process, such as an emulator.
        environment: added to this process's.

    Returns:
        Arrays [pictures, 1, C, S, S].
    """
    with tempfile.TemporaryDirectory() as folder:
        given, into = Path(folder, "pictures.npy"), Path(folder, "found.npz")
        np.save(given, np.stack(pictures))
        command = [*under, sys.executable, str(CHILD), str(given), str(into), *map(str, paths)]
        variables = os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {})
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        with np.load(into) as stored:
            return {name: stored[name] for name in stored.files}
