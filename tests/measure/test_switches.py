"""``bench --pack``: how long another identity takes, and the first frame with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mfs_edge
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.measure import results, run, runner, table
from mfs_edge.measure.devices import Request, Watch, local
from mfs_edge.measure.observed import Observation
from mfs_edge.measure.task import Task
from mfs_edge.pack.make import make

SIZE = 64
Folders = tuple[Path, list[Path]]


def based(person: Identity, other: Identity, checkpoint: Checkpoint, room: Path, targets: Sequence[str]) -> Folders:
    """A base of ``person``, and ``other``'s packs for it."""
    files = []
    for name, each in (("a", person), ("b", other)):
        files.append(room / f"{name}.npy")
        np.save(files[-1], np.concatenate([each.embedding.ravel(), each.feature_map.ravel()]).astype(np.float32))
    out = room / "build"
    mfs_edge.compile(identity=files[0], checkpoint=checkpoint, target=targets, precision="fp32", size=SIZE, out=out)
    make(base=out, out=room / "packs", identity=files[1])
    return out, sorted((room / "packs").glob("*.pack"))


@pytest.fixture(scope="module")
def base(demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path_factory: pytest.TempPathFactory) -> Folders:
    first, second, *_ = demo_identities
    return based(first, second, demo_iin, tmp_path_factory.mktemp("one"), ["c", "onnx", "tflite", "openvino"])


@pytest.fixture(scope="module")
def foreign(demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Of the same checkpoint, and yet another file: the bias of a head differs."""
    changed = {**demo_iin.tensors, "final.1.bias": demo_iin.tensors["final.1.bias"] + 1}
    checkpoint = replace(demo_iin, tensors=changed)
    first, second, *_ = demo_identities
    return based(first, second, checkpoint, tmp_path_factory.mktemp("two"), ["onnx"])


def test_every_runtime_is_timed(base: Folders, tmp_path: Path) -> None:
    """And the record, the tables and the page say so; the picture is still the one that was proven."""
    folder, packs = base
    assert len(packs) == 4
    report = run.bench(folder, pack=packs, threads=1, json=tmp_path / "a.json", html=tmp_path / "a.html")
    assert report.passed
    assert len(report.entries) == 4
    for entry in report.entries:
        seen = entry.observation.switches
        assert seen is not None, entry.facts.file
        assert seen.switches == len(seen.switch_samples_ms) == len(seen.first_samples_ms) == 2 * runner.SWITCHES
        assert min(*seen.switch_samples_ms, *seen.first_samples_ms) > 0
        assert seen.switch_ms == np.median(seen.switch_samples_ms)
    assert results.load(tmp_path / "a.json") == report
    (shown,) = [rows for _, columns, rows in table.tables(report) if columns == table.SWITCHED]
    assert [row[0] for row in shown] == [entry.facts.file for entry in report.entries]
    assert table.SWITCH_REMARK in (tmp_path / "a.html").read_text()


def test_a_sealed_pack_is_opened_by_its_key(base: Folders, tmp_path: Path) -> None:
    import pyrage

    secret = pyrage.x25519.Identity.generate()
    (tmp_path / "key.txt").write_text(f"{secret}\n")
    (pack,) = [path for path in base[1] if ".onnx" in path.name]
    (tmp_path / "sealed.pack").write_bytes(pyrage.encrypt(pack.read_bytes(), [secret.to_public()]))
    one = base[0] / f"idn-{SIZE}-fp32.onnx"
    with pytest.raises(InputError, match="give --key FILE"):
        run.bench(one, pack=tmp_path / "sealed.pack", threads=1)
    report = run.bench(one, pack=tmp_path / "sealed.pack", key=tmp_path / "key.txt", threads=1)
    assert report.entries[0].observation.switches is not None


def test_without_a_pack_nothing_is_said_of_switching(base: Folders, tmp_path: Path) -> None:
    report = run.bench(base[0] / f"idn-{SIZE}-fp32.idn", threads=1, html=tmp_path / "a.html")
    assert report.entries[0].observation.switches is None
    assert table.SWITCHED not in [columns for _, columns, _ in table.tables(report)]
    assert table.SWITCH_REMARK not in (tmp_path / "a.html").read_text()


def test_without_a_clock_there_is_none_either(base: Folders) -> None:
    folder, packs = base
    report = run.bench(folder, pack=packs, threads=1, time=False)
    assert report.passed
    assert [entry.observation.switches for entry in report.entries] == 4 * [None]


def test_one_artefact_may_have_been_renamed(base: Folders, tmp_path: Path) -> None:
    (pack,) = [path for path in base[1] if ".onnx" in path.name]
    (tmp_path / "mine.onnx").write_bytes((base[0] / f"idn-{SIZE}-fp32.onnx").read_bytes())
    report = run.bench(tmp_path / "mine.onnx", pack=str(pack), threads=1)
    assert report.entries[0].observation.switches is not None


def test_packs_that_fit_nothing_are_refused(base: Folders, foreign: Folders, tmp_path: Path) -> None:
    """Before anything is measured, by name, by hash, and one pack each."""
    folder, packs = base
    (onnx,) = [path for path in packs if ".onnx" in path.name]
    both = [folder / f"idn-{SIZE}-fp32.idn", folder / f"idn-{SIZE}-fp32.tflite"]
    with pytest.raises(UsageError, match=r"is for idn-64-fp32\.onnx, and that is not among .*tflite"):
        run.bench(*both, pack=onnx)
    with pytest.raises(UsageError, match="another pack was given for it"):
        run.bench(folder, pack=[onnx, onnx])
    with pytest.raises(InputError, match="is not the base that"):
        run.bench(folder, pack=foreign[1])
    with pytest.raises(UsageError, match="and that is not among"):
        run.bench(both[0], pack=onnx)
    (tmp_path / "no.pack").write_bytes(b"no pack")
    with pytest.raises(InputError, match="is not a sound pack"):
        run.bench(folder, pack=tmp_path / "no.pack")
    with pytest.raises(InputError, match=r"missing\.pack"):
        run.bench(folder, pack=tmp_path / "missing.pack")


class Plain(local.LocalDevice):
    """A device that has never heard of packs."""

    def measure(self, artefact: Path, request: Request, watch: Watch) -> Observation:
        return super().measure(artefact, replace(request, switched={}), watch)


def test_a_device_that_cannot_is_named(base: Folders) -> None:
    path = base[0] / f"idn-{SIZE}-fp32.idn"
    request = Request(threads=1, switched={path: {"any": b""}}).quick()
    request = replace(request, switched={path: {"any": b""}})
    task = Task([Plain()], [path], {}, request, run.paired.Plan(), timed=True)
    task.run(mfs_edge.base.progress.Recorded())
    assert f"{path.name} on local: switching identities cannot be measured there" in task.notes


def test_an_engine_that_cannot_is_none() -> None:
    assert runner.switches(object(), runner.parse(["a", "--engine", "e", "--switched", "missing.npz"])) is None


def test_what_a_device_says_is_typed(base: Folders, tmp_path: Path) -> None:
    """In the JSON as in the record; an unknown key is refused."""
    (pack,) = [path for path in base[1] if ".idn" in path.name]
    run.bench(base[0] / f"idn-{SIZE}-fp32.idn", pack=pack, threads=1, json=tmp_path / "a.json")
    told = json.loads((tmp_path / "a.json").read_text())
    told["entries"][0]["observation"]["switches"]["more"] = 1
    (tmp_path / "b.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match="is not a bench result"):
        results.load(tmp_path / "b.json")
