"""What a measurement takes along to a device, this machine included."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import numpy as np

from mfs_edge import target
from mfs_edge.base import cpus, frames, reasons
from mfs_edge.measure import ends, machine, runner, whole
from mfs_edge.program import Program
from mfs_edge.sample import probe
from mfs_edge.target import Machine

PICTURE = "picture.npz"
SWITCHED = "switched.npz"


@dataclass(frozen=True)
class Luggage:
    """Files by the names that they have there; ``arguments`` for the runner to find them."""

    files: dict[str, bytes]
    arguments: tuple[str, ...]


def pack(
    artefact: Path,
    switched: Mapping[str, bytes] | None = None,
    frame: tuple[int, int] | None = None,
    finders: tuple[Path, Path] | None = None,
) -> Luggage:
    """The runner, the artefact's engine, and a picture to run where it takes one.

    Args:
        artefact: its path.
        switched: its files with another identity in them, where that is to be measured, too.
        frame: width and height, where whole frames are measured.
        finders: the files of a detector and a mesh, where every stage of whole frames is.

    Raises:
        InputError: the artefact is damaged, no target's, or holds code that no target wrote.
    """
    kind = target.of_file(artefact)
    program = kind.vouch(artefact)
    found = {
        "runner.py": _source(runner),
        **{f"{module.__name__.rpartition('.')[2]}.py": _source(module) for module in (frames, cpus, reasons, machine)},
        "engine.py": engine_file(kind).read_bytes(),
    }
    size, given = picture_size(program), ["--engine=engine.py"]
    if switched:
        found[SWITCHED] = _archive({name: np.frombuffer(data, np.uint8) for name, data in switched.items()})
        given.append(f"--switched={SWITCHED}")
    if size is not None:
        found[PICTURE] = _archive({"image": probe.picture(size), "places": probe.places(size)})
        given.append(f"--picture={PICTURE}")
    if frame:
        found |= {"whole.py": _source(whole), **_of_swap(whole.TRAVELLERS)}
        given.append(f"--frame={frame[0]}x{frame[1]}")
    if finders:
        found |= _ends(*finders)
        given.append("--stages=all")
    return Luggage(found, tuple(given))


def _of_swap(names: Sequence[str]) -> dict[str, bytes]:
    """What ``swap`` uses for whole frames: its very files, in packages that are empty otherwise.

    They are read, not imported: whoever measures on a device need not have OpenCV.
    """
    root = Path(__file__).parents[1]
    held = {name: (root / name).read_bytes() for name in names}
    packages = {f"{folder.as_posix()}/__init__.py" for name in names for folder in PurePosixPath(name).parents}
    return {f"{whole.FOLDER}/mfs_edge/{name}": held.get(name, b"") for name in (*packages, *held)}


def _ends(detector: Path, mesh: Path) -> dict[str, bytes]:
    """What decodes, finds and encodes: the files of ``swap``, the two models, and the engine that runs them."""
    litert = engine_file(target.get("tflite")).read_bytes()
    models = {ends.DETECTOR: detector.read_bytes(), ends.MESH: mesh.read_bytes()}
    return {"ends.py": _source(ends), "litert.py": litert, **models, **_of_swap(ends.TRAVELLERS)}


def _archive(arrays: Mapping[str, Any]) -> bytes:
    held = io.BytesIO()
    np.savez(held, **arrays)
    return held.getvalue()


def members(artefact: Path) -> dict[str, Path]:
    """Every file of the artefact, by its name relative to the artefact's folder, with forward slashes.

    Raises:
        InputError: one is missing, or a link to what lies elsewhere: whoever made a package must not choose
            which of this machine's files go to a device.
    """
    found = target.artefact(artefact).members
    return {member.relative_to(artefact.parent).as_posix(): member for member in found}


def contents(artefact: Path, machine: Machine | None = None) -> dict[str, bytes]:
    """The bytes of every file.

    Args:
        artefact: its path; raises as :func:`members`.
        machine: where it goes, for targets that compile (``Target.compiled``): what is made for it comes along.

    Raises:
        MissingDependency: what would be made for ``machine`` cannot be.
    """
    held = {name: member.read_bytes() for name, member in members(artefact).items()}
    if machine is not None:
        made = target.of_file(artefact).built(artefact, machine)
        held |= {f"{artefact.name}/{name}": content for name, content in made.items()}
    return held


def _source(module: ModuleType) -> bytes:
    return Path(str(module.__file__)).read_bytes()


def engine_file(kind: target.Target) -> Path:
    """Where the target's engine is, without importing it."""
    spec = importlib.util.find_spec(kind.engine)
    if spec is None or spec.origin is None:
        raise ImportError(f"target {kind.name} has no engine {kind.engine}")
    return Path(spec.origin)


def picture_size(program: Program) -> int | None:
    """S of a file that takes one square picture and gives two, as ours do; None for others."""
    if len(program.takes) != 1 or len(program.gives) != 2:
        return None
    shape = program.takes[0].shape
    planar = len(shape) == 4 and shape[:2] == (1, 3) and shape[2] == shape[3]
    packed = len(shape) == 4 and shape[::3] == (1, 3) and shape[1] == shape[2]
    return shape[2] if (planar or packed) and shape[2] > 0 else None
