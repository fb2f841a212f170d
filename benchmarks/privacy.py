"""Is the person still in the file? What artefacts and packs give away of an identity: ``python benchmarks/privacy.py``.

Whoever has the public checkpoint knows every shared pointwise weight W [O, I], and how a style layer makes a gain of
an embedding e: g = 1 + S e + b. The plain form holds V = W g d, where d [O] makes every row of V one long. So V / W
gives g up to one factor c per layer, and c g = 1 + S e + b is linear in e and in the factors: nine layers make 1,891
equations for 512 + 9 unknowns, which linear least squares solves. What is done to the identity-local form, which
packs hold, is in ``benchmarks/privacy_local.py``; what kernels hold of the feature map in ``privacy_features.py``;
what a regression makes of packs in ``privacy_regressor.py``; whether two of one person are told to be that in
``privacy_links.py``. Some two minutes of one core.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, only this folder is on the path

from benchmarks import peerlib, privacy_features, privacy_held, privacy_links, privacy_local, privacy_regressor
from mfs_edge import target
from mfs_edge.fold import fold
from mfs_edge.graph import build, passes
from mfs_edge.load.checkpoint import Checkpoint, from_state
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.networks import spec
from mfs_edge.sample import seeded, weights

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "golden.npz"
GOLDEN_SEED = 7
PEOPLE = 3  # of each checkpoint
SIZE = 32  # of the written file, in pixels: its weights are those of any size
FULL, DEMO = "full rank (golden, seed 7)", "demo (style layers of low rank)"
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
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here too.")
def main(json_path: Path | None) -> None:
    embeds = {FULL: seeded_arcface(), DEMO: Embedder(weights.checkpoint("arcface"))}
    people = [weights.identity(number) for number in range(8)]
    strangers = [embeds[FULL](privacy_links.picture(number)) for number in range(PEOPLE - 1)]
    cases = {FULL: (golden()[0], [golden()[1], *strangers]), DEMO: (demo()[0], people)}
    plain = [{"checkpoint": title, **attack(case[0], case[1][0])} for title, case in cases.items()]
    local = [row for title, case in cases.items() for row in against_local(title, *case)]
    local.append(privacy_regressor.row(FULL, golden()[0], golden()[1].feature_map))
    features = [
        row
        for title, (checkpoint, known) in cases.items()
        for row in privacy_features.rows(title, checkpoint, known[:PEOPLE], embeds[title])
    ]
    links = list(privacy_links.rows(demo()[0], people, embeds[DEMO]))
    peerlib.show("The embedding recovered from the plain form, fp32", _exact(plain))
    peerlib.show(f"From the identity-local form: cosines, the median and the highest of {PEOPLE}", _exact(local))
    peerlib.show("Of what the kernels depend on alone: cosines", features)
    peerlib.show("Packs of two pictures of a person, among those of eight", links)
    if json_path is not None:
        peerlib.save(json_path, {"plain": plain, "local": local, "features": features, "links": links})


def _exact(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """With all six digits of cosines."""
    return [{k: f"{v:.6f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]


def golden() -> tuple[Checkpoint, Identity]:
    """The checkpoint of the tests, whose style layers are of full rank as trained ones are, and its identity."""
    with np.load(GOLDEN) as stored:
        state = seeded.network_state("iin", seed=GOLDEN_SEED, statistics=stored)
        identity = Identity(stored["identity/embedding"], stored["identity/feature_map"])
    return from_state(state, expect="iin", source=f"seed {GOLDEN_SEED}", sha256="0" * 64), identity


def demo() -> tuple[Checkpoint, Identity]:
    """The embedded demo's checkpoint and first identity."""
    return weights.checkpoint("iin"), weights.identity(0)


def seeded_arcface() -> Embedder:
    """The ArcFace of the tests, which makes embeddings that lie anywhere."""
    with np.load(GOLDEN) as stored:
        state = seeded.network_state("arcface", seed=GOLDEN_SEED, statistics=stored)
    return Embedder(from_state(state, expect="arcface", source=f"seed {GOLDEN_SEED}", sha256="0" * 64))


def attack(checkpoint: Checkpoint, identity: Identity) -> dict[str, Any]:
    """Fold, then recover the embedding from the plain form and the checkpoint.

    Returns:
        ``cosine`` with the true embedding; how many ``equations`` of which ``rank`` there were.
    """
    held = fold(checkpoint, identity).weights("plain")
    stored = {name: held[name][:, :, 0, 0].astype(np.float64) for name in LAYERS}
    found, equations, rank = recover(stored, checkpoint.tensors)
    cosine = privacy_local.cosine(found, identity.embedding)
    return {"cosine": round(cosine, 6), "equations": equations, "unknowns": spec.EMBEDDING + len(LAYERS), "rank": rank}


def against_local(title: str, checkpoint: Checkpoint, people: Sequence[Identity]) -> Iterator[dict[str, Any]]:
    """A row for each precision and attack on the first people; what guessing the mean of others gives comes first."""
    attacker = privacy_local.Attack(checkpoint)
    starts = [_others(people, number) for number in range(PEOPLE)]
    yield _row(title, "-", "the mean of others", starts, people)
    for precision in privacy_local.NOISE:
        held = [held_by(checkpoint, person, precision) for person in people[:PEOPLE]]
        yield _row(title, precision, "demodulations, by squares", map(attacker.by_squares, held), people)
        for name, start in _starts(starts).items():
            found = [attacker.by_steps(each, first) for each, first in zip(held, start, strict=True)]
            yield _row(title, precision, f"demodulations, by steps from {name}", found, people)
        if title == FULL:  # the demo's layers have no inverse, and need none
            yield _row(title, precision, "demodulations and kernels", map(attacker.by_kernels, held), people)


def held_by(checkpoint: Checkpoint, person: Identity, precision: str) -> privacy_held.Held:
    """What a file says; in fp32 read back from an ``.onnx`` that was written."""
    folded = fold(checkpoint, person)
    if precision != "fp32":
        return privacy_held.held(folded, precision)
    onnx = target.get("onnx")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"idn{onnx.suffix}")
        graph = passes.optimise(build.build(folded.weights("identity-local"), size=SIZE), level=1)
        onnx.emit(graph, path, target.EmitOptions())
        return privacy_held.read(path, checkpoint)


def _others(people: Sequence[Identity], number: int) -> np.ndarray:
    mean: np.ndarray = np.mean([other.embedding for i, other in enumerate(people) if i != number], axis=0)
    return mean.astype(np.float64)


def _starts(means: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
    drawn = np.random.default_rng(0).standard_normal((PEOPLE, spec.EMBEDDING))
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return {"zero": [np.zeros(spec.EMBEDDING)] * PEOPLE, "a drawn one": [*unit], "the mean of others": [*means]}


def _row(title: str, precision: str, how: str, found: Any, people: Sequence[Identity]) -> dict[str, Any]:
    cosines = [privacy_local.cosine(one, person.embedding) for one, person in zip(found, people[:PEOPLE], strict=True)]
    return {"checkpoint": title, "file": precision, "from": how, **privacy_local.summary(cosines)}


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
