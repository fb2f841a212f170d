"""Whom a compile is for: one identity, or all those whose base it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mfs_edge import sample
from mfs_edge.base.errors import UsageError
from mfs_edge.base.progress import Steps
from mfs_edge.face import crop
from mfs_edge.load import folder
from mfs_edge.load import identity as identities
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.pack.caution import ENOUGH
from mfs_edge.sample import weights

DRAWN = "drawn"
FACES = 16  # of the demo, its identities first
WARNING = (
    "this base was made over drawn identities: it may not suit those of photographs; "
    "give a folder of some id.npy with --identities DIR"
)

One = str | Path | Identity | None
Many = str | Path | Sequence[Identity] | None


def check(identity: One, many: Many, *, optimize: int) -> None:
    """Before any work.

    Raises:
        UsageError: not exactly one of both is given, or many for a graph in which nothing is shared.
    """
    if (identity is None) == (many is None):
        raise UsageError("give either --identity id.npy or, for a base of many, --identities DIR")
    if many is not None and not optimize:
        raise UsageError(
            "--identities needs --optimize 1: without it every weight is one identity's, and none is shared"
        )


def gathered(identity: One, many: Many, arcface: Checkpoint | None, steps: Steps) -> list[Identity]:
    """Everyone, each once; the files will hold the first.

    Args:
        identity: a file or a loaded identity; None if there are many.
        many: a folder, loaded ones, or "drawn".
        arcface: for what lacks its embedding, or is a picture.
        steps: told of what was read.

    Raises:
        IdentityError: one cannot be used; the message names it.
        UsageError: there is none.
    """
    if many is None:
        return [_one(identity, arcface, steps)]
    with steps.step("read identities"):
        found = _all(many, arcface, steps)
    unique = list({one.sha256: one for one in found}.values())
    if not unique:
        raise UsageError("--identities holds no identity; write some with: mfs-edge identity PHOTO -o DIR/NAME.npy")
    if len(unique) < len(found):
        steps.note(f"{len(found) - len(unique)} of {len(found)} identities are there twice; each counts once")
    if len(unique) < ENOUGH:
        steps.note(f"a base over {len(unique)} identities fits others less well; give {ENOUGH} or more")
    return unique


def _one(given: One, arcface: Checkpoint | None, steps: Steps) -> Identity:
    """As given, or from its file with what ArcFace has to add."""
    if isinstance(given, Identity):
        return given
    if given is None:
        raise UsageError("there is no identity; give one with --identity id.npy")
    with steps.step("read identity"):
        loaded = identities.load(given, None if arcface is None else Embedder(arcface))
    for note in loaded.notes:
        steps.note(note)
    return loaded


def _all(many: str | Path | Sequence[Identity], arcface: Checkpoint | None, steps: Steps) -> list[Identity]:
    if many == DRAWN:
        steps.note(WARNING)
        return drawn(arcface)
    if not isinstance(many, (str, Path)):
        return list(many)
    files, passed_over = folder.identities(Path(many))
    if passed_over:
        steps.note(f"passed over in {many}: {passed_over}")
    embedder = None if arcface is None else Embedder(arcface)
    loaded = [identities.load(file, embedder) for file in files]
    for note in dict.fromkeys(note for one in loaded for note in one.notes):
        steps.note(note)
    return loaded


def drawn(arcface: Checkpoint | None = None) -> list[Identity]:
    """The demo's identities and some of its targets, read by ``arcface``, or by the demo's own."""
    embedder = Embedder(weights.checkpoint("arcface") if arcface is None else arcface)
    pictures = [sample.identity_picture(number) for number in range(sample.IDENTITIES)]
    pictures += [sample.target(number) for number in range(FACES - len(pictures))]
    return [embedder(crop.arcface_input(picture, f"drawn face {i}")) for i, picture in enumerate(pictures)]
