"""What an artefact costs without running it, from its bytes, and what its manifest says of them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from mfs_edge import bundle, target
from mfs_edge.base import files
from mfs_edge.base.errors import InputError
from mfs_edge.bundle import manifest
from mfs_edge.graph import cost
from mfs_edge.measure.results import Facts
from mfs_edge.program import Program


def suffixes() -> list[str]:
    """Of every registered target's artefacts."""
    return [kind.suffix for kind in target.registered().values()]


def artefacts(paths: tuple[Path, ...]) -> list[Path]:
    """The artefacts named, and those in the bundle folders named.

    Raises:
        InputError: a path is missing, or is nothing that can be measured.
    """
    found: dict[Path, None] = {}
    for path in paths:
        found |= dict.fromkeys(_expand(path))
    return list(found)


def _expand(path: Path) -> list[Path]:
    known = suffixes()
    files.require_text(path)
    try:
        folder, there = path.is_dir(), path.exists()
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}); give a bundle folder or an artefact") from error
    if path.suffix in known:
        if not there:
            raise InputError(f"{path}: no such file; mfs-edge compile writes artefacts")
        return [path if folder else files.require_file(path, "artefact")]
    if not folder:
        what = "is not an artefact" if there else "no such file or folder"
        raise InputError(f"{path}: {what}; give a bundle folder or a file ending in {', '.join(known)}")
    if (path / bundle.MANIFEST).exists():
        recorded = [path / artefact.file for artefact in manifest.read(path / bundle.MANIFEST).artefacts]
        inside = [p for p in recorded if p.suffix in known and p.exists()]
    else:
        inside = sorted(p for p in path.iterdir() if p.suffix in known)
    if not inside:
        raise InputError(f"{path}: holds no artefact; compile into it with: mfs-edge compile --out {path}")
    return inside


def of(path: Path) -> Facts:
    """Counts, hash and size of an artefact.

    Raises:
        InputError: it is damaged.
    """
    entry = recorded(path)
    kind = target.of_file(path)
    return Facts(
        file=path.name,
        format=kind.title,
        sha256=files.sha256(path),
        bytes=target.artefact(path).size,
        precision=entry.precision if entry else None,
        verification=entry.verification.status if entry else None,
        **_counted(kind.read(path)),
    )


def _counted(program: Program) -> dict[str, Any]:
    """What the file tells; without shapes only some of it."""
    found = {
        "graph_hash": program.hash,
        "operators": program.operators,
        "transposes": sum(step.kind == "Transpose" for step in program.steps),
        "parameters": cost.parameters(program),
    }
    with contextlib.suppress(InputError):
        total = cost.count(program)
        found |= {name: getattr(total, name) for name in ("macs", "added_macs", "flops", "paper")}
        found["peak_activation_bytes"] = total.peak_bytes
    return found


def recorded(path: Path) -> manifest.ArtefactRecord | None:
    """The entry of a manifest beside ``path``, if it is about these very bytes, every member's."""
    beside = path.parent / bundle.MANIFEST
    if not beside.exists():
        return None
    entry = next((a for a in manifest.read(beside).artefacts if a.file == path.name), None)
    return entry if entry is not None and entry.intact(path.parent) else None
