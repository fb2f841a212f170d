"""What ``bench`` claims of files that are not, or no longer, those that were proven."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import mfs_edge
from mfs_edge import bundle, target
from mfs_edge.base.errors import CheckFailed
from mfs_edge.bundle.manifest import Manifest
from mfs_edge.measure import run
from mfs_edge.measure.devices.local import LocalDevice
from tests.bundle import made

FORMS = {"idn.onnx": "onnx", "idn.tflite": "tflite", "idn.xml": "openvino"}


@pytest.fixture
def build(artefacts: Path, tmp_path: Path) -> Path:
    """Published as proven."""
    for path in artefacts.iterdir():
        shutil.copy(path, tmp_path)
    entries = tuple(made.record(target.artefact(tmp_path / name), form, "a") for name, form in FORMS.items())
    (tmp_path / bundle.MANIFEST).write_text(Manifest(versions={}, artefacts=entries).dumps())
    return tmp_path


def claims(report: mfs_edge.measure.results.Report) -> dict[str, str | None]:
    return {entry.facts.file: entry.facts.verification for entry in report.entries}


def test_only_what_was_proven_is_claimed(build: Path) -> None:
    assert set(claims(mfs_edge.bench(build, time=False)).values()) == {"passed"}
    assert claims(mfs_edge.bench(build / "idn.onnx", time=False)) == {"idn.onnx": "passed"}
    with (build / "idn.onnx").open("ab") as file:
        file.write(made.field(6, b"another"))  # a model as good as before, but not the proven one
    for given in (build, build / "idn.onnx"):
        found = mfs_edge.bench(given, time=False)
        assert claims(found)["idn.onnx"] is None
        (note,) = [note for note in found.notes if note.startswith("idn.onnx: nothing is proven")]
        assert "idn.onnx" in note


@pytest.mark.parametrize("how", ["replaced", "gone"])
def test_a_file_replaced_meanwhile_is_not_recorded(build: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    measure = LocalDevice.measure

    def meanwhile(self: LocalDevice, artefact: Path, *rest: object) -> object:
        if how == "gone":
            artefact.unlink()
        else:
            made.write(build, "onnx", "b")
        return measure(self, artefact, *rest)

    monkeypatch.setattr(LocalDevice, "measure", meanwhile)
    found = mfs_edge.bench(build / "idn.onnx", time=False)
    assert found.entries == ()
    with pytest.raises(CheckFailed, match="was replaced while it was measured"):
        run.require_passed(found)
