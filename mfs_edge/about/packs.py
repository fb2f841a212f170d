"""What a pack is for and what it makes; never the person in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mfs_edge.base import files
from mfs_edge.base.errors import InputError, MissingDependency
from mfs_edge.pack import container, sealed

_HEAD = 4096


def is_pack(path: Path) -> bool:
    """Whether the file begins as a pack does, sealed or not; or is called one."""
    with files.require_file(path, "pack").open("rb") as file:
        head = file.read(_HEAD)
    return path.suffix == container.SUFFIX or sealed.is_sealed(head) or container.FORMAT.encode() in head


def facts(path: Path, key: Path | None = None) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Facts in reading order, and what it changes in which file; of a sealed one as much as its key opens.

    Args:
        path: of the pack.
        key: the file that opens a sealed one; by default that of ``$MFS_EDGE_KEY``.

    Raises:
        InputError: it is damaged.
    """
    closed = sealed.is_sealed(path.read_bytes()[:_HEAD])
    outside = {"sealed": "yes" if closed else "no", "bytes": path.stat().st_size, "sha256": files.sha256(path)}
    try:
        pack = container.read(path, key)
    except (InputError, MissingDependency) as error:
        if key is not None or not closed:
            raise
        return {**outside, "contents": f"not shown: {error}"}, {}
    lengths = [len(patch.data) for patch in pack.patches]
    told = {
        "fits": pack.artefact,
        "target": pack.target,
        "precision": pack.precision,
        "size": pack.size,
        "identity sha256": pack.identity_sha256,
        "checkpoint sha256": pack.checkpoint_sha256,
        "runs": len(lengths),
        "bytes changed": sum(lengths),
        **outside,
        "notice": container.NOTICE,
    }
    rows = [
        {
            "file": name,
            "bytes": part.bytes,
            "runs": sum(patch.file == name for patch in pack.patches),
            "sha256 of the base": part.sha256,
            "sha256 of the result": part.result if part.result != part.sha256 else "the same",
        }
        for name, part in pack.files.items()
    ]
    return told, {"files": rows}
