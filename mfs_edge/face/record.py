"""What an identity was read from, in a small JSON file beside it: hashes and places, nothing of the face."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mfs_edge.base import files


class Record(BaseModel):
    """Beside ``id.npy`` as ``id.npy.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity_sha256: str  # of the identity that it belongs to
    picture_sha256: str
    understood: str  # what the picture and the landmarks were taken for
    landmarks: tuple[tuple[float, float], ...] | None = None  # x, y in pixels of the picture
    eye_distance: float | None = None  # pixels of the picture
    residual: float | None = None  # px of 112, of the worst point after the fit
    preview: str | None = None  # the aligned crop, beside it


def place(identity: Path) -> Path:
    """Where the record of ``identity`` lies."""
    return identity.with_name(f"{identity.name}.json")  # a photo and its landmarks may share the stem


def save(record: Record, identity: Path) -> None:
    """Write it beside ``identity``, atomically; raises OutputError where it cannot be written."""
    files.write_text(place(identity), record.model_dump_json(indent=2) + "\n")


def of(identity: Path, sha256: str) -> Record | None:
    """The record beside ``identity``, whose values have ``sha256``; None if there is none, or it is of another one."""
    try:
        found = Record.model_validate_json(place(identity).read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.identity_sha256 == sha256 else None
