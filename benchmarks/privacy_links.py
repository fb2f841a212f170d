"""Are two packs of one person told to be that? A part of ``benchmarks/privacy.py``.

Each of eight people has a second picture: the first one, moved, darker and noisy. A pack of it is looked for among the
packs of the first pictures, by three measures that need no photograph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import privacy_held, privacy_local
from mfs_edge.face.crop import arcface_input
from mfs_edge.fold import FoldedIDN, fold
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.sample import identity_picture

SHIFT = (2, -2)  # pixels of 224
DARKER, NOISE = 0.9, 4.0  # times, and the standard deviation in steps of 0..255


def picture(number: int, *, again: bool = False) -> np.ndarray:
    """What ArcFace reads of the demo's identity picture ``number``, or of the second one of that person."""
    pixels = identity_picture(number)
    if again:
        noise = np.random.default_rng(number).normal(0, NOISE, pixels.shape)
        pixels = np.clip(np.roll(pixels, SHIFT, (0, 1)) * DARKER + noise, 0, 255).astype(np.uint8)
    return arcface_input(pixels, f"demo identity {number}")


def rows(checkpoint: Checkpoint, people: Sequence[Identity], embed: Embedder) -> Iterator[dict[str, Any]]:
    """How many of the second pictures' packs are nearest to the right one, and both kinds of cosines.

    Args:
        checkpoint: the IIN's.
        people: the demo's identities, in order.
        embed: of the ArcFace that read them.
    """
    attacker = privacy_local.Attack(checkpoint)
    both = [*people, *(embed(picture(number, again=True)) for number in range(len(people)))]
    folded = [fold(checkpoint, person) for person in both]
    embeddings = [person.embedding for person in both]
    for precision in privacy_local.NOISE:
        found = [attacker.by_squares(privacy_held.held(one, precision)) for one in folded]
        yield _row(precision, "a pack's numbers, less their mean", _numbers(folded, precision))
        yield _row(precision, "the recovered embedding", np.array(found))
    yield _row("-", "the photographs' own embeddings", np.array(embeddings))


def _numbers(folded: Sequence[FoldedIDN], precision: str) -> np.ndarray:
    """What packs hold, [N, 25264], each tensor less the mean of all and with an equal say."""
    forms = [one.exact("identity-local") for one in folded]
    free = [name for name in forms[0] if "coder." in name and name.endswith(".0.weight")]
    parts = []
    for name in [*free, "mask.0.1.weight", "final.1.weight"]:
        stacked = np.stack([privacy_held.rounded(form[name], precision).ravel() for form in forms])
        centred = stacked - stacked.mean(axis=0)
        parts.append(centred / np.sqrt((centred**2).sum() / len(centred)))
    return np.hstack(parts)


def _row(precision: str, measure: str, vectors: np.ndarray) -> dict[str, Any]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    half = len(unit) // 2
    cosines = unit[half:] @ unit[:half].T  # second pictures against first ones
    same = np.diag(cosines)
    other = cosines[~np.eye(half, dtype=bool)]
    return {
        "file": precision,
        "by": measure,
        "found again": f"{int((cosines.argmax(axis=1) == np.arange(half)).sum())} of {half}",
        "same person, median": float(np.median(same)),
        "same, lowest": float(same.min()),
        "others, highest": float(other.max()),
    }
