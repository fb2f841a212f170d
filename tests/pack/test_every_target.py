"""Base + pack is, bit for bit, what the target writes for that identity: in every target and precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge import pack as packs
from mfs_edge import precisions, target
from mfs_edge.base.runs import DERIVED, TEXT
from mfs_edge.bundle.manifest import ArtefactRecord, Source, Verification
from mfs_edge.fold import FoldedIDN
from mfs_edge.load.identity import Identity
from mfs_edge.networks import spec
from mfs_edge.pack import container
from mfs_edge.pack.base import BaseArtefact
from mfs_edge.pack.runs import located

from .conftest import SIZE, Bases

FORMS = [
    (kind.name, precision)
    for kind in target.registered().values()
    for precision in kind.precisions
    if precision != "int8-mixed"
]
HASHES = 3 * 64 + 3 * 36  # the most that a format holds: of the identity, the weights; a package's identifiers
LARGEST = {"fp32": 104_000, "fp16": 54_000, "int8": 45_000}
FEW, NAMED = 10, 140  # files of an artefact; bytes by which a pack names each that is more


def form_of(kind: target.Target, precision: str) -> str:
    return precisions.PRODUCTS if precision == "int8" and kind.products else precision


def emitted(kind: target.Target, precision: str, model: ir.Model, folder: Path, identity: Identity) -> Path:
    folder.mkdir()
    path = folder / f"idn-{SIZE}-{precision}{kind.suffix}"
    metadata = {"identity_sha256": identity.sha256, "checkpoint_sha256": "0" * 64}
    own = kind.options().resolved(precision)
    kind.emit(model, path, target.EmitOptions(precision, kind.default_io, metadata=metadata, own=own))
    return path


def with_owned(graph: precisions.Graph, owned: Mapping[str, np.ndarray]) -> ir.Model:
    """The base's graph with what another identity owns in it, under the same names."""
    model = graph.model.clone()
    for name, reader in graph.readers.items():
        value = model.graph.node(reader).inputs[1]
        assert value is not None
        while value.const_value is None:  # behind a Cast or a DequantizeLinear
            made = value.producer()
            assert made is not None
            value = made.inputs[0]
            assert value is not None
        stored = owned[name].astype(value.const_value.numpy().dtype)
        value.const_value = ir.tensor(stored, name=value.name)
    return model


def based(kind: target.Target, precision: str, graph: precisions.Graph, path: Path, owned, identity) -> BaseArtefact:  # type: ignore[no-untyped-def]
    artefact = target.artefact_of(kind, path)
    record = ArtefactRecord(
        file=path.name, files=artefact.sha256s, bytes=artefact.size, target=kind.name, precision=precision,
        io=kind.default_io, size=SIZE, optimize=1, checkpoint=Source(name="demo", sha256="0" * 64),
        identity_sha256=identity.sha256, inputs=(), outputs=(), operators={}, parameters=0, macs=graph.macs,
        base="idn.base", runs=located(kind, path, owned, identity.sha256),
        verification=Verification(status="not verified", verified="no", run="not run"),
    )  # fmt: skip
    return BaseArtefact.load(path.parent, record)


def first_difference(first: bytes, second: bytes) -> int | None:
    """Where they begin to differ; in the place of a message of megabytes."""
    if len(first) != len(second):
        return min(len(first), len(second))
    places = np.flatnonzero(np.frombuffer(first, np.uint8) != np.frombuffer(second, np.uint8))
    return int(places[0]) if places.size else None


@pytest.mark.parametrize(("name", "precision"), FORMS)
def test_applied_is_what_compiling_writes(
    name: str, precision: str, tmp_path: Path, bases: Bases, demo_identities: list[Identity],
    strangers: list[tuple[Identity, FoldedIDN]], folder,
) -> None:  # fmt: skip
    kind = target.get(name)
    graph = bases(form_of(kind, precision))
    first = demo_identities[0]
    owned = graph.owned(folder.fold(first).weights("identity-local"))
    path = emitted(kind, precision, graph.model, tmp_path / "base", first)
    base = based(kind, precision, graph, path, owned, first)
    own = [run for run in base.record.runs if run.dtype not in (TEXT, DERIVED)]
    assert sorted(run.tensor for run in own) == sorted(spec.OWNED)
    assert sum(run.bytes for run in base.record.runs) - sum(run.bytes for run in own) <= HASHES
    for number, (identity, folded) in enumerate(strangers):
        mine = graph.owned(folded.weights("identity-local"))
        whole = emitted(kind, precision, with_owned(graph, mine), tmp_path / f"whole{number}", identity)
        file = tmp_path / f"{number}.pack"
        file.write_bytes(container.dumps(base.pack(mine, identity.sha256)))
        out = tmp_path / f"out{number}"
        out.mkdir()
        applied = packs.apply(path, file, out / whole.name)
        expected = kind.contents(whole)
        found = kind.contents(applied.path)
        assert found.keys() == expected.keys()
        for file_name, data in expected.items():
            assert first_difference(found[file_name], data) is None, file_name
        assert file.stat().st_size <= LARGEST[precision] + NAMED * max(0, len(expected) - FEW)
