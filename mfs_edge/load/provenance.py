"""Where an ``id.npy`` came from: a small record beside it, tied to it by hash, with nothing of the embedding in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mfs_edge.base import files

MOST_BYTES = 1 << 16
FOREIGN = "of another identity: it was not written with this file"


@dataclass(frozen=True)
class Provenance:
    """What ``mfs-edge identity`` read."""

    picture: str  # the file's name
    picture_sha256: str
    arcface_sha256: str
    landmarks: list[list[float]] | None = None  # pixels x, y; None: the picture was an aligned crop
    eye_distance: float | None = None  # pixels of the picture
    residual: float | None = None  # worst of the five landmarks, px of the 112 px crop
    likeness: float | None = None  # 0 to 1, of the crop to a face
    preview: str | None = None  # the aligned crop's file name
    file_sha256: str = ""  # of the id.npy that this is about


def beside(identity: Path) -> Path:
    """The record of ``id.npy`` is ``id.json``."""
    return identity.with_suffix(".json")


def preview_of(identity: Path) -> Path:
    """The aligned crop of ``id.npy`` is ``id.crop.png``."""
    return identity.with_suffix(".crop.png")


def save(record: Provenance, identity: Path) -> None:
    """Write the record of ``identity``, which is there already, atomically."""
    told = asdict(replace(record, file_sha256=files.sha256(identity)))
    files.write_text(beside(identity), json.dumps({"mfs-edge": "identity", **told}, indent=2) + "\n")


def facts(identity: Path) -> dict[str, Any]:
    """What the record beside an identity says, for ``inspect``; why it says nothing, where it does not."""
    path = beside(identity)
    if not path.is_file():
        return {"taken from": f"not recorded ({path.name} is not beside it)"}
    try:
        told = json.loads(path.read_bytes()[:MOST_BYTES].decode("utf-8-sig"))
        if told["mfs-edge"] != "identity":
            raise ValueError("another kind of record")
        found = Provenance(**{key: value for key, value in told.items() if key in Provenance.__dataclass_fields__})
        described = _facts(found)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {"taken from": f"not recorded ({path.name} is damaged, or no record of an identity)"}
    if found.file_sha256 != files.sha256(identity):
        return {"taken from": f"not recorded ({path.name} is {FOREIGN})"}
    return described


def _facts(found: Provenance) -> dict[str, Any]:
    """For ``inspect``; raises TypeError or ValueError where the record holds values of other types."""
    told = {"taken from": str(found.picture), "picture sha256": str(found.picture_sha256)}
    if found.landmarks is None:
        told["landmarks"] = "none: it was an aligned crop"
    else:
        told["landmarks"] = "; ".join(f"{float(x):.4g},{float(y):.4g}" for x, y in found.landmarks)
        eyes, residual = float(found.eye_distance or 0), float(found.residual or 0)
        told["fit"] = f"{eyes:.4g} px between the eyes, worst residual {residual:.3g} of 112 px"
    return {**told, "arcface sha256": str(found.arcface_sha256), "preview": str(found.preview or "none")}
