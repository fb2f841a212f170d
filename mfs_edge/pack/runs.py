"""Where the bytes of an identity lie in an artefact that was just written; for its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge.base import runs
from mfs_edge.base.errors import LoweringError
from mfs_edge.base.runs import DERIVED, IDENTITY_SHA256, TEXT, Run
from mfs_edge.target import Target

if TYPE_CHECKING:
    import numpy as np


def located(target: Target, path: Path, owned: Mapping[str, np.ndarray], identity_sha256: str) -> tuple[Run, ...]:
    """Every run of bytes that another identity of the same base fills otherwise, by file and offset.

    Args:
        target: that wrote the artefact.
        path: of the artefact, whose identity is the one of ``owned``.
        owned: name -> array [C, 1, k, k] or [O, I, 1, 1], as ``Coding.owned`` gives them.
        identity_sha256: as in the artefact's metadata.

    Returns:
        Nothing where the target, or this form of its files, takes no packs.

    Raises:
        LoweringError: an array is not found exactly once, or a checksum is wrong: a defect of the target.
    """
    found = target.runs(path, owned) if target.packs else ()
    if not found:
        return ()
    contents = target.contents(path)
    every = [*found, *runs.texts(contents, identity_sha256)]
    for derived in target.derived(path, contents):
        run = Run(derived.file, derived.offset, len(derived.data), derived.name, DERIVED)
        if contents[run.file][run.offset : run.end] != derived.data:
            raise LoweringError(f"{path}: {run.tensor} is not what target {target.name} derives; please report it")
        every.append(run)
    return tuple(sorted(every, key=lambda run: (run.file, run.offset)))


def filled(run: Run, owned: Mapping[str, np.ndarray], identity_sha256: str) -> bytes:
    """What an identity, of arrays [C, 1, k, k] or [O, I, 1, 1], writes into ``run``, which is not derived.

    Raises:
        LoweringError: the base's coding gives no such array, or one of another size.
    """
    if run.dtype == TEXT and run.tensor == IDENTITY_SHA256:
        data = identity_sha256.encode()
    elif run.tensor in owned and len(run.axes) == owned[run.tensor].ndim:
        data = runs.encode(owned[run.tensor], run.dtype, run.axes)
    else:
        raise LoweringError(f"{run.file}: the base's coding has no tensor {run.tensor}; compile the base again")
    if len(data) != run.bytes:
        raise LoweringError(
            f"{run.file}: tensor {run.tensor} has {len(data)} bytes in the base's coding, and {run.bytes} in the "
            "manifest; compile the base again"
        )
    return data
