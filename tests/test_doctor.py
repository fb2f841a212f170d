"""What is installed, and what can be done with it."""

from __future__ import annotations

import pytest

from mfs_edge import doctor, extras


def test_everything_installed_is_reported_as_usable() -> None:
    found = doctor.diagnose()
    assert found.compiles
    onnx = next(report for report in found.targets if report.name == "onnx")
    assert (onnx.emits, onnx.runs, onnx.remedy) == (True, True, "")
    assert onnx.versions["onnxruntime"][0].isdigit()


def test_what_is_missing_comes_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "available", lambda module: module not in ("torch", "onnxruntime"))
    found = doctor.diagnose()
    assert not found.compiles
    onnx = next(report for report in found.targets if report.name == "onnx")
    assert (onnx.runs, onnx.remedy) == (False, "pip install 'mfs-edge[onnx]'")
