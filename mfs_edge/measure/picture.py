"""Is the session that was timed the one that was proven? By the picture that it gave.

``compile`` has recorded what the session that it verified makes of a fixed picture. The same
runtime of the same version gives the same picture on every CPU; another version may round
otherwise, but must stay as near to the reference as the proof asks for.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import numpy as np

from mfs_edge import target
from mfs_edge.base.errors import CheckFailed, InputError
from mfs_edge.bundle import manifest
from mfs_edge.measure.observed import Observation
from mfs_edge.sample import probe

# One runtime on two CPUs, dB. Half precision is computed in float where a CPU lacks it; and codes of
# eight bits that are all rounded to the wrong neighbour are 48 dB away.
SAME_RUNTIME_PSNR = {"fp32": 80.0, "fp16": 60.0, "int8": 45.0, "int8-mixed": 45.0}
BYTES_PSNR = 45.0


Expected = tuple[np.ndarray, dict[str, float], str]  # values, dB that each output must reach, whose they are


def judge(path: Path, recorded: manifest.ArtefactRecord | None, seen: Observation, *, device: str) -> str:
    """One line on the picture of a measurement.

    Args:
        path: of the artefact.
        recorded: its entry in a manifest, whose hashes match.
        seen: what the device found; ``picture`` is what the timed session gave.

    Raises:
        CheckFailed: it is not the proven picture.
    """
    if seen.picture is None:
        return f"{path.name} on {device}: its picture was not compared: this device or file gives none"
    expected = _proven(recorded, seen) or (None if device == "local" else _here(path))
    if expected is None:
        return f"{path.name} on {device}: its picture was not compared: no manifest beside it says what was proven"
    values, needed, whose = expected
    found = np.concatenate([np.asarray(seen.picture.swapped), np.asarray(seen.picture.mask)], axis=1)
    levels = probe.levels(found, values)
    said = ", ".join(f"{name} {level:.0f} dB" for name, level in levels.items())
    for name, level in levels.items():
        if not level >= needed[name]:
            raise CheckFailed(
                f"{path.name}: on {device} the session that was timed does not give the picture {whose} "
                f"({said}; {needed[name]:.0f} dB needed); its speed is that of another program: update the runtime "
                "there, or compile it again"
            )
    return f"{path.name} on {device}: the picture {whose} ({said})"


def _proven(recorded: manifest.ArtefactRecord | None, seen: Observation) -> Expected | None:
    if recorded is None or recorded.verification.probe is None:
        return None
    return probe.decode(recorded.verification.probe), _needed(recorded, seen), "that was proven"


def _here(path: Path) -> Expected | None:
    """Without a manifest: what this machine's own runtime gives, where it is installed and runs the file."""
    kind = target.of_file(path)
    if kind.unrunnable() or target.missing(kind, running=True):
        return None
    with contextlib.suppress(InputError):  # a stranger's file, whose interpreter is not let loose here
        loaded = kind.load(path, threads=1)
        types = {value.dtype.lower() for value in loaded.program.values.values()}
        precision = (
            "int8" if types & {"int8", "i8", "uint8", "u8"} else "fp16" if types & {"float16", "fp16"} else "fp32"
        )
        outputs = loaded.run(probe.picture(loaded.input[1][0][2]))
        return probe.seen(outputs), dict.fromkeys(outputs, SAME_RUNTIME_PSNR[precision]), "of this machine's runtime"
    return None


def _needed(recorded: manifest.ArtefactRecord, seen: Observation) -> dict[str, float]:
    """dB that each output must agree to with the proven one."""
    proof, machine = recorded.verification, seen.machine
    if proof.execution.startswith(f"{machine.runtime} {machine.runtime_version}:"):
        level = BYTES_PSNR if recorded.io != "float32" else SAME_RUNTIME_PSNR.get(recorded.precision, BYTES_PSNR)
        return {"swapped": level, "mask": level}
    # Two independent errors add up: what was proven leaves so much for the difference.
    limit = proof.min_psnr or 0.0
    proven = {"swapped": proof.swapped, "mask": proof.mask}
    return {name: _left(limit, found.psnr_mean if found else math.inf) for name, found in proven.items()}


def _left(limit: float, proven: float) -> float:
    room = 10 ** (-limit / 10) - 10 ** (-proven / 10)
    return -10 * math.log10(room) if room > 0 else math.inf
