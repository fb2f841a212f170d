"""How far one set of outputs is from another: PSNR, and the levels that an artefact must reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Outputs = dict[str, np.ndarray]  # "swapped" [1, 3, S, S] and "mask" [1, 1, S, S], in 0..1

OUTPUT_NAMES = ("swapped", "mask")
# Below these the artefact is rejected unless --min-psnr says otherwise. Float32 runtimes
# differ from each other by rounding alone, far above 80 dB.
DEFAULT_MIN_PSNR = {"fp32": 80.0, "fp16": 60.0, "int8": 35.0, "int8-mixed": 35.0}
# Rounding an output to bytes costs this much by itself: uniform noise of 1/255, 58.9 dB.
BYTE_MIN_PSNR = 55.0
PSNR_CEILING = 200.0  # stands for equality: JSON has no infinity


class Swapper(Protocol):
    """Anything that swaps a face."""

    def run(self, image: np.ndarray) -> Outputs:
        """One frame.

        Args:
            image: float32 [1, 3, S, S], RGB in 0..1, whatever the file itself takes.

        Returns:
            ``swapped`` [1, 3, S, S] and ``mask`` [1, 1, S, S], float32 in 0..1.
        """
        ...


@dataclass(frozen=True)
class Fidelity:
    """How one output differs from the reference, over several inputs; peak value 1."""

    max_abs: float
    psnr_mean: float  # dB; 200 stands for equality
    psnr_worst: float  # dB
    worst: int = 0  # which input that is, from 0


def default_min_psnr(precision: str, io: str) -> float:
    """The level in dB below which an artefact is rejected."""
    level = DEFAULT_MIN_PSNR[precision]
    return level if io == "float32" else min(level, BYTE_MIN_PSNR)


def psnr(difference: np.ndarray) -> float:
    """PSNR in dB of a difference of any shape, for a peak of 1; NaN counts as no signal at all."""
    error = float(np.mean(np.square(difference, dtype=np.float64)))
    if not np.isfinite(error):
        return 0.0
    return PSNR_CEILING if error == 0 else min(PSNR_CEILING, -10 * float(np.log10(error)))


def compare(runner: Swapper, images: Sequence[np.ndarray], expected: Sequence[Outputs]) -> dict[str, Fidelity]:
    """Fidelity of ``runner`` per output, over images whose outputs should be ``expected``.

    Args:
        runner: what is judged.
        images: float32 [1, 3, S, S] each, in 0..1.
        expected: per image, "swapped" [1, 3, S, S] and "mask" [1, 1, S, S] in 0..1.
    """
    return between([runner.run(image) for image in images], expected)


def between(found: Sequence[Outputs], expected: Sequence[Outputs]) -> dict[str, Fidelity]:
    """Fidelity per output of ``found``, "swapped" [1, 3, S, S] and "mask" [1, 1, S, S] per image, in 0..1."""
    pairs = list(zip(found, expected, strict=True))
    return {name: _fidelity([ours[name] - wanted[name] for ours, wanted in pairs]) for name in OUTPUT_NAMES}


def _fidelity(differences: Sequence[np.ndarray]) -> Fidelity:
    levels = [psnr(difference) for difference in differences]
    largest = max(float(np.nan_to_num(np.abs(difference), nan=np.inf).max()) for difference in differences)
    return Fidelity(
        max_abs=min(largest, float(np.finfo(np.float32).max)),  # JSON has no infinity
        psnr_mean=float(np.mean(levels)),
        psnr_worst=float(min(levels)),
        worst=int(np.argmin(levels)),
    )


def passes(fidelity: dict[str, Fidelity], min_psnr: float) -> bool:
    """Whether every output reaches ``min_psnr`` on average over the inputs."""
    return all(output.psnr_mean >= min_psnr for output in fidelity.values())
