"""Compare a written artefact with the torch reference, on the bytes that were written.

The reference runs the authors' path in torch (IIN, modulation, IDN); it shares neither the
fold's arithmetic nor the graph builder with what it judges.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from mfs_edge.checkpoint import Checkpoint
from mfs_edge.identity import Identity
from mfs_edge.target import Swapper

Outputs = dict[str, np.ndarray]

OUTPUT_NAMES = ("swapped", "mask")
# Below these the artefact is rejected unless --min-psnr says otherwise. Float32 runtimes
# differ from each other by rounding alone, far above 80 dB.
DEFAULT_MIN_PSNR = {"fp32": 80.0, "fp16": 60.0, "int8": 35.0, "int8-mixed": 35.0}
# Rounding an output to bytes costs this much by itself: uniform noise of 1/255, 58.9 dB.
BYTE_MIN_PSNR = 55.0
AT_ONCE = 8  # images; each takes some 100 MB in float64
PSNR_CEILING = 200.0  # stands for equality: JSON has no infinity


@dataclass(frozen=True)
class Fidelity:
    """How one output differs from the reference, over several inputs; peak value 1."""

    max_abs: float
    psnr_mean: float  # dB
    psnr_worst: float  # dB
    worst: int = 0  # which input that is


def default_min_psnr(precision: str, io: str) -> float:
    """The level in dB below which an artefact is rejected."""
    level = DEFAULT_MIN_PSNR[precision]
    return level if io == "float32" else min(level, BYTE_MIN_PSNR)


def psnr(difference: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, for a peak of 1; NaN counts as no signal at all."""
    error = float(np.mean(np.square(difference, dtype=np.float64)))
    if not np.isfinite(error):
        return 0.0
    return PSNR_CEILING if error == 0 else min(PSNR_CEILING, -10 * float(np.log10(error)))


def inputs(size: int) -> list[np.ndarray]:
    """The images an artefact is verified on: drawn faces, noise, a ramp and a flat grey.

    Returns:
        float32 [1, 3, size, size] each, in 0..1; every value a whole byte / 255, so that
        files that take camera bytes see the same pictures.
    """
    from mfs_edge import demo, images

    faces = [images.resize(demo.target(i), size) for i in (0, 7, 21)]
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    gradient = np.stack(np.broadcast_arrays(ramp, ramp[:, None], ramp[::-1]), axis=-1)
    flat = np.full((size, size, 3), 128, np.uint8)
    return [images.to_nchw(picture) for picture in (*faces, noise, gradient, flat)]


def reference(checkpoint: Checkpoint, identity: Identity) -> Callable[[np.ndarray], Outputs]:
    """The torch IDN of one identity, in float64, as a function of an image [1, 3, S, S]."""
    import torch

    from mfs_edge.networks import iin, loading
    from mfs_edge.networks.idn import IDN

    network = loading.instantiate(iin.IIN, checkpoint.tensors)
    state = network(torch.from_numpy(identity.embedding)[None], torch.from_numpy(identity.feature_map)[None])
    idn = loading.instantiate(IDN, {k: v.numpy() for k, v in state.items()}, dtype=torch.float64)

    def run(image: np.ndarray) -> Outputs:
        with loading.one_thread():
            swapped, mask = idn(torch.from_numpy(image).double())
        return {"swapped": swapped.numpy(), "mask": mask.numpy()}

    return run


def on_each(run: Callable[[np.ndarray], Outputs], images: Sequence[np.ndarray]) -> list[Outputs]:
    """The reference's outputs for every image; each is computed on one thread, several at a time."""
    from mfs_edge.networks import loading

    at_once = min(os.cpu_count() or 1, AT_ONCE)
    with loading.one_thread(), ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(run, images))


def compare(runner: Swapper, images: Sequence[np.ndarray], expected: Sequence[Outputs]) -> dict[str, Fidelity]:
    """Fidelity of ``runner`` per output, over ``images`` whose reference outputs are ``expected``."""
    differences: dict[str, list[np.ndarray]] = {name: [] for name in OUTPUT_NAMES}
    for image, outputs in zip(images, expected, strict=True):
        actual = runner.run(image)
        for name, found in differences.items():
            found.append(actual[name] - outputs[name])
    return {name: _fidelity(found) for name, found in differences.items()}


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
