"""Is the person still in the file? What an artefact gives away of its identity: ``python benchmarks/privacy.py``.

Whoever has the public checkpoint knows every shared pointwise weight W [O, I], and how a style layer makes a gain of
an embedding e: g = 1 + S e + b. The file holds V = W g d, where d [O] makes every row of V one long. So V / W gives
g up to one factor c per layer, and c g = 1 + S e + b is linear in e and in the factors: nine layers make 1,891
equations for 512 + 9 unknowns, which linear least squares solves.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx_ir as ir

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, only this folder is on the path

import mfs_edge
from benchmarks import peerlib
from mfs_edge.load.checkpoint import Checkpoint, from_state
from mfs_edge.load.identity import Identity
from mfs_edge.networks import spec
from mfs_edge.sample import seeded, weights

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "golden.npz"
GOLDEN_SEED = 7
LAYERS = {
    **{f"Encoder.{i}.1.weight": f"EncoderModulation.{i}" for i in range(len(spec.ENCODER_CHANNELS) - 1)},
    **{f"Decoder.{i}.1.weight": f"DecoderModulation.{i}" for i in range(len(spec.DECODER_IN))},
}
STEPS = 200  # of the alternation between gains and demodulations, at most
SETTLED = 1e-12  # relative change at which it ends
# Singular values below this share of the largest are the rounding of the file's float32: with them the demo's
# cosine falls to 0.73, as its style layers reach 33 of the 512 dimensions (those that its own identities lie in).
NOISE = 1e-6


@click.command(help=__doc__)
@click.option("--size", default=224, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here too.")
def main(size: int, json_path: Path | None) -> None:
    cases = {"full rank (golden, seed 7)": golden(), "demo (style layers of low rank)": demo()}
    rows = [{"checkpoint": title, **attack(*case, size=size)} for title, case in cases.items()]
    shown = [{**row, "cosine": f"{row['cosine']:.6f}"} for row in rows]
    peerlib.show(f"The embedding recovered from a default fp32 .onnx, {size} px", shown)
    if json_path is not None:
        peerlib.save(json_path, {"rows": rows})


def golden() -> tuple[Checkpoint, Identity]:
    """The checkpoint of the tests, whose style layers are of full rank as trained ones are, and its identity."""
    with np.load(GOLDEN) as stored:
        state = seeded.network_state("iin", seed=GOLDEN_SEED, statistics=stored)
        identity = Identity(stored["identity/embedding"], stored["identity/feature_map"])
    return from_state(state, expect="iin", source=f"seed {GOLDEN_SEED}", sha256="0" * 64), identity


def demo() -> tuple[Checkpoint, Identity]:
    """The embedded demo's checkpoint and first identity."""
    return weights.checkpoint("iin"), weights.identity(0)


def attack(checkpoint: Checkpoint, identity: Identity, *, size: int) -> dict[str, Any]:
    """Compile with the defaults, then recover the embedding from the file and the checkpoint.

    Returns:
        ``cosine`` with the true embedding; how many ``equations`` of which ``rank`` there were.
    """
    with tempfile.TemporaryDirectory() as out:
        compiled = mfs_edge.compile(
            identity=identity, checkpoint=checkpoint, target="onnx", size=size, out=out, verify=False
        )
        (artefact,) = compiled.manifest.artefacts
        found, equations, rank = recover(stored_weights(Path(out, artefact.file)), checkpoint.tensors)
    cosine = float(found @ identity.embedding / np.linalg.norm(found) / np.linalg.norm(identity.embedding))
    return {"cosine": round(cosine, 6), "equations": equations, "unknowns": spec.EMBEDDING + len(LAYERS), "rank": rank}


def stored_weights(path: Path) -> dict[str, np.ndarray]:
    """The modulated pointwise weights in an ``.onnx``, float64 [O, I] by their names."""
    held = ir.load(path).graph.initializers
    arrays = {name: held[name].const_value for name in LAYERS if name in held}
    return {name: value.numpy().astype(np.float64)[:, :, 0, 0] for name, value in arrays.items() if value is not None}


def recover(stored: Mapping[str, np.ndarray], public: Mapping[str, np.ndarray]) -> tuple[np.ndarray, int, int]:
    """The embedding [512] that least squares find, the number of equations, and their rank.

    Args:
        stored: V [O, I] of each layer of :data:`LAYERS`, as a file holds it.
        public: the checkpoint's tensors.
    """
    rows, known = [], []
    for number, (name, modulation) in enumerate(LAYERS.items()):
        direction = gains(stored[name], public[f"{modulation}.weight"].astype(np.float64)[:, :, 0, 0])
        factors = np.zeros((len(direction), len(LAYERS)))
        factors[:, number] = -direction
        rows.append(np.hstack([public[f"{modulation}.style.weight"].astype(np.float64), factors]))
        known.append(-1 - public[f"{modulation}.style.bias"].astype(np.float64))
    matrix, right = np.vstack(rows), np.concatenate(known)
    solution, _, rank, _ = np.linalg.lstsq(matrix, right, rcond=NOISE)
    return solution[: spec.EMBEDDING], len(matrix), int(rank)


def gains(stored: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """What the columns of W [O, I] were multiplied by, [I], up to a factor: least squares, by turns with the rows."""
    gain = np.ones(shared.shape[1])
    for _ in range(STEPS):
        scaled = shared * gain
        row = (stored * scaled).sum(axis=1) / (scaled**2).sum(axis=1)
        scaled = shared * row[:, None]
        before, gain = gain, (stored * scaled).sum(axis=0) / (scaled**2).sum(axis=0)
        gain /= np.linalg.norm(gain) / np.sqrt(len(gain))
        if np.abs(gain - before).max() < SETTLED:
            break
    return gain


if __name__ == "__main__":
    main()
