"""What an artefact costs without running it, from its bytes and, where they do not tell, its manifest."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from mfs_edge import bundle
from mfs_edge.base import files
from mfs_edge.base.errors import InputError
from mfs_edge.bundle import manifest
from mfs_edge.measure import programs
from mfs_edge.measure.results import Facts

SUFFIXES = {".onnx": "ONNX", ".tflite": "TFLite", ".xml": "OpenVINO", ".mlpackage": "Core ML"}


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
    if path.suffix in SUFFIXES:
        if not path.exists():
            raise InputError(f"{path}: no such file; mfs-edge compile writes artefacts")
        return [path if path.is_dir() else files.require_file(path, "artefact")]
    if not path.is_dir():
        what = "is not an artefact" if path.exists() else "no such file or folder"
        raise InputError(f"{path}: {what}; give a bundle folder or a file ending in {', '.join(SUFFIXES)}")
    if (path / bundle.MANIFEST).exists():
        recorded = [path / artefact.file for artefact in manifest.read(path / bundle.MANIFEST).artefacts]
        inside = [p for p in recorded if p.suffix in SUFFIXES and p.exists()]
    else:
        inside = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES)
    if not inside:
        raise InputError(f"{path}: holds no artefact; compile into it with: mfs-edge compile --out {path}")
    return inside


def members(path: Path) -> list[Path]:
    """The files that belong to an artefact: itself, OpenVINO's weights, everything in a package."""
    if path.is_dir():
        return sorted(member for member in path.rglob("*") if member.is_file())
    weights = path.with_suffix(".bin")
    return [path, weights] if path.suffix == ".xml" and weights.exists() else [path]


def of(path: Path) -> Facts:
    """Counts, hash and size of an artefact.

    Raises:
        InputError: it is damaged.
    """
    recorded = _recorded(path)
    program = programs.read(path)
    entry = Facts(
        file=path.name,
        format=SUFFIXES[path.suffix],
        sha256=files.sha256(path),
        bytes=sum(member.stat().st_size for member in members(path)),
        precision=recorded.precision if recorded else None,
        verification=recorded.verification.status if recorded else None,
        source="none",
    )
    if program is not None:
        return entry.model_copy(update={**asdict(programs.count(program)), "source": "file"})
    return entry if recorded is None else entry.model_copy(update=_from_manifest(recorded))


def _from_manifest(recorded: manifest.ArtefactRecord) -> dict[str, object]:
    return {
        "operators": recorded.operators,
        "parameters": recorded.parameters,
        "macs": recorded.macs,
        "transposes": sum(n for kind, n in recorded.operators.items() if kind.lower() == "transpose"),
        "source": "manifest",
    }


def _recorded(path: Path) -> manifest.ArtefactRecord | None:
    """The entry of a manifest beside ``path``, if it is about this very file."""
    beside = path.parent / bundle.MANIFEST
    if not beside.exists():
        return None
    entry = next((a for a in manifest.read(beside).artefacts if a.file == path.name), None)
    return entry if entry is not None and entry.files.get(path.name) == files.sha256(path) else None
