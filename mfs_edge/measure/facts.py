"""What an artefact costs without running it, from its bytes, and what its manifest says of them."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfs_edge import bundle, target
from mfs_edge.base import damage, files
from mfs_edge.base.errors import InputError
from mfs_edge.bundle import proof
from mfs_edge.bundle.proof import Proof, Stamp
from mfs_edge.graph import cost
from mfs_edge.measure.results import Facts
from mfs_edge.program import Program

_TRIES, _PAUSE_SECONDS = 20, 0.05


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
        named = [
            files.confined(path, a.file, source=path / bundle.MANIFEST)
            for a in proof.settled(path).artefacts
            if a.task == "swap"
        ]
        inside = [p for p in named if p.suffix in known and p.exists()]
    else:
        inside = sorted(p for p in path.iterdir() if p.suffix in known)
    if not inside:
        raise InputError(f"{path}: holds no artefact; compile into it with: mfs-edge compile --out {path}")
    return inside


@dataclass(frozen=True)
class Examined:
    """An artefact as it was found."""

    facts: Facts
    proof: Proof
    stamp: Stamp | None  # see ``bundle.proof``; another one is another artefact


def examine(path: Path) -> Examined:
    """Facts, and what is proven of these very bytes; all of one state of the files.

    Raises:
        InputError: it is damaged, or another run keeps replacing it.
    """
    for _ in range(_TRIES):
        before = proof.stamp(path)
        try:
            found = Examined(_facts(path, known := proof.of(path)), known, before)
        except InputError as error:
            failed: InputError | None = error
        except OSError as error:
            failed = InputError(f"{path}: cannot be read ({error.strerror or error}); check it and try again")
        else:
            failed = None
        same = before == proof.stamp(path)
        if same and failed is None:
            return found
        if failed is not None and same and not (before is None and proof.being_replaced(path)):
            raise failed
        time.sleep(_PAUSE_SECONDS)
    raise InputError(f"{path}: another run keeps replacing it; try again when that has ended")


def of(path: Path) -> Facts:
    """Counts, hash and size of an artefact; raises as :func:`examine`."""
    return examine(path).facts


def _facts(path: Path, known: Proof) -> Facts:
    kind, made = target.of_file(path), target.artefact(path)
    with damage.told_of(path, kind.title):  # shapes that are possible, but counts that are not
        return Facts(
            file=path.name,
            format=kind.title,
            sha256=made.sha256,
            bytes=made.size,
            precision=known.record.precision if known.record else None,
            verification=known.record.verification.status if known.record else None,
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
