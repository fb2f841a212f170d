"""Is the session that was timed the one that was proven? By the picture that it gave.

``compile`` has recorded what the session that it verified makes of a fixed picture. The same
runtime of the same version gives the same picture on every CPU; another version may round
otherwise, but must stay as near to the reference as the proof asks for.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from mfs_edge.base.errors import CheckFailed
from mfs_edge.bundle import manifest
from mfs_edge.measure.results import Observation
from mfs_edge.sample import probe

# One runtime on two CPUs, dB. Half precision is computed in float where a CPU lacks it; and codes of
# eight bits that are all rounded to the wrong neighbour are 48 dB away.
SAME_RUNTIME_PSNR = {"fp32": 80.0, "fp16": 60.0, "int8": 45.0, "int8-mixed": 45.0}
BYTES_PSNR = 45.0


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
    if recorded is None or recorded.verification.probe is None:
        return f"{path.name} on {device}: its picture was not compared: no manifest beside it says what was proven"
    found = np.concatenate([np.asarray(seen.picture.swapped), np.asarray(seen.picture.mask)], axis=1)
    levels = probe.levels(found, probe.decode(recorded.verification.probe))
    needed = _needed(recorded, seen)
    said = ", ".join(f"{name} {level:.0f} dB" for name, level in levels.items())
    for name, level in levels.items():
        if not level >= needed[name]:
            raise CheckFailed(
                f"{path.name}: on {device} the session that was timed does not give the picture that was proven "
                f"({said}; {needed[name]:.0f} dB needed); its speed is that of another program: update the runtime "
                "there, or compile it again"
            )
    return f"{path.name} on {device}: the picture that was proven ({said})"


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
