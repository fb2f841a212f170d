"""A folder of identities."""

from __future__ import annotations

from pathlib import Path

from mfs_edge.base.errors import IdentityError
from mfs_edge.load import provenance

SUFFIXES = (".npy", ".npz")
_SHOWN = 6


def identities(path: Path) -> tuple[list[Path], str]:
    """The identity files in a folder, by name, and what else lies there, in words.

    What ``mfs-edge identity`` writes beside an identity (its record and its aligned crop) goes without saying.

    Raises:
        IdentityError: there is no such folder, or no identity in it.
    """
    if not path.is_dir():
        raise IdentityError(f"{path}: is not a folder; give one that holds id.npy files")
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    found = [entry for entry in entries if entry.suffix.lower() in SUFFIXES and entry.is_file()]
    if not found:
        raise IdentityError(
            f"{path}: holds no .npy or .npz; write some with: mfs-edge identity PHOTO -o {path}/NAME.npy"
        )
    known = {*found, *(beside for one in found for beside in (provenance.beside(one), provenance.preview_of(one)))}
    others = [entry.name for entry in entries if entry not in known]
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    return found, ", ".join(others[:_SHOWN]) + more
