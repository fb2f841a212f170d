"""A checkpoint read for a job, and the user told what was read."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from mfs_edge.base.errors import UsageError
from mfs_edge.base.progress import Steps
from mfs_edge.load import checkpoint as checkpoints
from mfs_edge.load.checkpoint import Checkpoint


def read(path: str | Path, *, expect: str, sha256: Collection[str], steps: Steps) -> Checkpoint:
    """As :func:`mfs_edge.load.checkpoint.load`, telling ``steps`` what was found, chosen and ignored, and its hash."""
    found = checkpoints.load(path, expect=expect, sha256=sha256)
    for line in (found.read, *found.notes):
        steps.note(line)
    return found


def check_used(sha256: Collection[str], *read: Checkpoint | None) -> None:
    """Every hash that was given is that of a checkpoint that was read.

    Raises:
        UsageError: one is not; nothing was proven by it.
    """
    left = sorted(set(sha256) - {found.sha256 for found in read if found is not None})
    if left:
        raise UsageError(f"--sha256 {left[0]}: no checkpoint was read that it could belong to; leave it out")
