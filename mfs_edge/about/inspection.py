"""Tell what a file is, and what is in it, without torch where the format allows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfs_edge import target
from mfs_edge.about import media, packs
from mfs_edge.base import extras, files
from mfs_edge.base.errors import InputError, MfsEdgeError, MissingDependency, UsageError
from mfs_edge.base.progress import Recorded, Steps
from mfs_edge.base.reasons import reason_of
from mfs_edge.bundle import MANIFEST, manifest, proof
from mfs_edge.graph import cost
from mfs_edge.load import checkpoint, identity, provenance
from mfs_edge.program import IntegerTensor, Program, Tensor
from mfs_edge.swap import carriers


@dataclass(frozen=True)
class Inspection:
    """What was found: a kind, facts in reading order, and tables."""

    kind: str  # "checkpoint", "identity", "artefact", "manifest", "pack", "picture" or "video"
    path: Path
    facts: dict[str, Any]
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def inspect(
    path: Path,
    *,
    layers: bool = False,
    quant: bool = False,
    trust: Path | None = None,
    key: Path | None = None,
    steps: Steps | None = None,
) -> Inspection:
    """Describe ``path``.

    Args:
        path: a checkpoint, an identity, an artefact, a manifest or its folder, a pack, a picture or a video.
        layers: also what each node of an ONNX artefact costs.
        quant: also the quantised tensors of an artefact, and what each of them costs in fidelity.
        trust: PEM certificates of who is trusted to sign pictures; by default those of ``$MFS_EDGE_TRUST``.
        key: the file that opens a sealed pack; by default that of ``$MFS_EDGE_KEY``.
        steps: told of progress.

    Raises:
        InputError: it is damaged, or nothing that mfs-edge knows.
        UsageError: ``layers``, ``quant``, ``trust`` or ``key`` of something that has none.
        MissingDependency: it is a picture or a video, and what reads its manifest is not installed.
    """
    if not checkpoint.locate(path)[0].exists():  # FILE#NAME is one network of a file
        raise InputError(f"{path}: no such file; give a checkpoint, an identity, an artefact, a pack or a picture")
    artefact = path.suffix in {kind.suffix for kind in target.registered().values()}
    carrier = None if artefact or not _holds(path) else carriers.of(path)
    pack = not artefact and carrier is None and _holds(path) and packs.is_pack(path)
    shown = {"layers": artefact, "quant": artefact, "trust": carrier is not None, "key": pack}
    for option, value in {"layers": layers, "quant": quant, "trust": trust, "key": key}.items():
        if value and not shown[option]:
            raise UsageError(f"{path}: {_NOT_FOR[option]}")
    if artefact:
        return _artefact(path, layers=layers, quant=quant, steps=steps or Recorded())
    if carrier is not None:
        return Inspection("video" if carrier.video else "picture", path, *media.facts(path, carrier, trust))
    if pack:
        return Inspection("pack", path, *packs.facts(path, key))
    return _of_ours(path)


_NOT_FOR = {
    "layers": "has no layers to show; give an artefact",
    "quant": "has no quantised tensors to show; give an artefact",
    "trust": "is no picture, and signed by nobody; leave --trust out",
    "key": "is no pack, and sealed for nobody; leave --key out",
}


def _holds(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _of_ours(path: Path) -> Inspection:
    """What the compiler reads and writes, but for artefacts."""
    if path.is_dir() or path.name == MANIFEST:
        return _manifest(path / MANIFEST if path.is_dir() else path)
    if path.suffix in (".npy", ".npz"):
        return _identity(path)
    return _checkpoint(path)


def _checkpoint(path: Path) -> Inspection:
    found = checkpoint.load(path)
    facts = {
        "network": checkpoint.TITLES[found.network],
        "format": found.format,
        "convention": found.convention,
        "stored as": found.dtype,
        "prefix": found.prefix or "none",
        "tensors": len(found.tensors),
        "parameters": found.parameters,
        "found": found.told,
        "bytes": checkpoint.locate(path)[0].stat().st_size,
        "sha256": found.sha256,
        "use it as": f"{checkpoint.OPTIONS[found.network]} {path}",
    }
    return Inspection("checkpoint", path, facts, {"parts": _parts(found)})


def _parts(found: checkpoint.Checkpoint) -> list[dict[str, Any]]:
    """Parameters by the first component of the key."""
    totals: dict[str, list[int]] = {}
    for key, tensor in found.tensors.items():
        entry = totals.setdefault(key.split(".")[0], [0, 0])
        entry[0] += 1
        entry[1] += tensor.size
    return [{"part": part, "tensors": n, "parameters": size} for part, (n, size) in totals.items()]


def _identity(path: Path) -> Inspection:
    found = identity.load(path)
    facts = {
        "embedding": f"{found.embedding.size} values, length 1",
        "feature map": "x".join(map(str, found.feature_map.shape)),
        "range": f"{found.feature_map.min():.3g} .. {found.feature_map.max():.3g}",
        "sha256": found.sha256,
        "notes": "; ".join(found.notes) or "none",
        **provenance.facts(path),
    }
    return Inspection("identity", path, facts)


def _artefact(path: Path, *, layers: bool, quant: bool, steps: Steps) -> Inspection:
    backend = target.of_file(path)
    found = backend.read(path)
    facts = {"format": found.format, **_bytes(path)}
    tables = {
        "tensors": _tensors("input", found.takes) + _tensors("output", found.gives),
        "operators": [{"operator": op, "count": count} for op, count in found.operators.items()],
    }
    if layers:
        totals, rows = _layers(found)
        facts, tables = {**facts, **totals}, {**tables, "layers": rows}
    if quant:
        costs, rows = _integers(path, found, steps)
        facts, tables = {**facts, "alone": costs}, {**tables, "quantised tensors": rows}
    return Inspection("artefact", path, {**facts, **found.details, **_taken(backend, path), **found.metadata}, tables)


def _bytes(path: Path) -> dict[str, Any]:
    """Size and hashes of all that belongs to the artefact, and what the manifest beside it proves of them."""
    made = target.artefact(path)
    digests = {f"sha256 of {name}": files.sha256(path.parent / name) for name in made.companions}
    told = proof.of(path).told
    return {"bytes": made.size, "sha256": files.sha256(path), **digests, **({"verification": told} if told else {})}


def _taken(backend: target.Target, path: Path) -> dict[str, Any]:
    """What a delegate takes of the file, where its runtime is here and has one."""
    if backend.unrunnable() or target.missing(backend, running=True):
        return {}
    try:
        coverage = backend.load(path, threads=1).engine.coverage()
    except (InputError, MissingDependency) as error:
        return {"delegate": f"not run: {error}"}
    return {"delegate": coverage} if coverage else {}


def _layers(program: Program) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the graph costs in total and node by node, under the names of ``graph.cost``."""
    counted = cost.count(program)
    columns = ("name", "operator", "shape", "parameters", "weight_bytes", "macs", "added_macs", "flops", "paper")
    rows = [{column: getattr(node, column) for column in (*columns, "live_bytes")} for node in counted.nodes]
    totals = (*columns[3:], "peak_bytes", "peak_node")
    return {name: getattr(counted, name) for name in totals}, rows


def _integers(path: Path, program: Program, steps: Steps) -> tuple[str, list[dict[str, Any]]]:
    """The quantised tensors, with the PSNR of each output when that tensor alone is on integers.

    That is computed with the ONNX form of the same graph: the artefact itself, or the one beside it.
    """
    tensors = program.quantised()
    if not tensors:
        raise UsageError(f"{path}: is not quantised; compile with --precision int8 or int8-mixed")
    graph = path.with_suffix(".onnx")
    levels: dict[str, dict[str, float]] = {}
    told = f"unknown: error contributions need {graph.name} beside it; compile with --target onnx too"
    if graph.exists() and _whose(graph) != program.metadata.get(WHOSE):
        told = f"unknown: {graph.name} beside it is of another identity; compile both targets again"
    elif graph.exists() and WHOSE not in program.metadata:
        told = "unknown: error contributions are computed for graphs that mfs-edge wrote"
    elif graph.exists():
        levels, told = _contributions(graph, steps), f"dB with that tensor alone on integers, {JUDGED_ON} drawn faces"
    plain = {_plain(name): level for name, level in levels.items()}
    return told, [_integer(tensor, plain.get(_plain(tensor.name))) for tensor in tensors]


def _plain(name: str) -> str:
    """A tensor's name as the most restrictive format, Core ML, allows it."""
    return re.sub(r"\W", "_", name)


def _whose(path: Path) -> str | None:
    """The hash of the identity that an artefact says it was made from."""
    return target.of_file(path).read(path).metadata.get(WHOSE)


JUDGED_ON = 4
WHOSE = "identity_sha256"


def _contributions(path: Path, steps: Steps) -> dict[str, dict[str, float]]:
    from mfs_edge import sample
    from mfs_edge.base import images
    from mfs_edge.quantize import contributions, execute, pairs

    library = extras.require("onnx_ir", "onnx")
    try:
        model = library.load(path)
        size = next(int(n) for n in reversed(target.of_file(path).read(path).takes[0].shape) if n > 3)
        faces = [images.to_nchw(images.resize(sample.target(number), size)) for number in range(JUDGED_ON)]
        with steps.counted(f"run {path.name} with one tensor on integers at a time") as progress:
            return contributions.contributions(model, faces, execute.outputs(pairs.drop(model), faces), progress)
    except MfsEdgeError:
        raise
    except Exception as error:  # those of onnx_ir, protobuf and onnxruntime share no base
        raise InputError(
            f"{path}: cannot be run with one tensor on integers at a time ({reason_of(error)}); "
            "give a quantised graph of mfs-edge, or inspect it without --quant"
        ) from error


def _integer(tensor: IntegerTensor, levels: dict[str, float] | None) -> dict[str, Any]:
    least, most = min(tensor.scales), max(tensor.scales)
    return {
        "tensor": tensor.name,
        "kind": tensor.kind,
        "type": tensor.dtype,
        "scale": float(f"{least:.6g}"),
        "largest scale": float(f"{most:.6g}") if most != least else "",
        "channels": len(tensor.scales) if len(tensor.scales) > 1 else "",
        "zero point": tensor.zero_point,
        "low": round(tensor.low, 4),
        "high": round(tensor.high, 4),
        **{f"{name} dB": round(levels[name], 1) if levels else "" for name in ("swapped", "mask")},
    }


def _tensors(role: str, tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    return [{"role": role, **vars(tensor)} for tensor in tensors]


def _manifest(path: Path) -> Inspection:
    if not path.exists():
        raise InputError(f"{path.parent}: is a folder without manifest.json; give a build folder or a file")
    found = proof.settled(path.parent) if path.name == MANIFEST else manifest.read(path)
    rows = [
        {
            "file": artefact.file,
            "precision": artefact.precision,
            "bytes": artefact.bytes,
            "verification": artefact.verification.status if intact else "nothing is proven",
            "intact": intact,
        }
        for artefact in found.artefacts
        for intact in [artefact.intact(path.parent)]
    ]
    return Inspection("manifest", path, {"artefacts": len(rows), **found.versions}, {"artefacts": rows})
