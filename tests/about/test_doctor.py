"""What is installed, and what can be done with it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mfs_edge.about import doctor
from mfs_edge.base import extras
from mfs_edge.measure.devices import availability


def test_everything_installed_is_reported_as_usable() -> None:
    found = doctor.diagnose()
    assert found.compiles
    onnx = next(report for report in found.targets if report.name == "onnx")
    assert (onnx.emits, onnx.runs, onnx.remedy) == (True, True, "")
    assert onnx.versions["onnxruntime"][0].isdigit()


def test_the_options_of_a_target_are_listed() -> None:
    coreml = next(report for report in doctor.diagnose().targets if report.name == "coreml")
    (option,) = coreml.options
    assert (option.name, option.type, option.default) == ("coreml.min_ios", "16, 17, 18, 26", "")
    assert "oldest iOS" in option.description


def test_what_is_missing_comes_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "available", lambda module: module not in ("torch", "onnxruntime"))
    found = doctor.diagnose()
    assert not found.compiles
    onnx = next(report for report in found.targets if report.name == "onnx")
    assert not onnx.runs
    assert onnx.remedy == "pip install 'mfs-edge[onnx]'; to run only: pip install onnxruntime"


def test_what_is_installed_and_does_not_work_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenCV 4.8 to 4.12, which lack a module that is used here."""
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2/__init__.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = doctor.diagnose()
    (problem,) = found.problems
    assert problem.startswith("cv2 ")
    assert "(ImportError: libGL.so.1: cannot open shared object file)" in problem
    assert problem.endswith("; pip install --upgrade opencv-python-headless")
    assert not found.compiles
    assert not any(report.emits for report in found.targets)


def test_torch_is_tried_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise OSError('libtorch_cpu.so is damaged')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert not doctor.diagnose().problems
    (problem,) = doctor.diagnose(thorough=True).problems
    assert "libtorch_cpu.so is damaged" in problem


def test_a_device_that_cannot_be_had_comes_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = availability()["emulated:rpi5|rpi4"]
    assert (found.possible, found.built) == (False, False)
    assert ("apt-get install gcc" if sys.platform.startswith("linux") else "Linux only") in found.said
    assert not list(tmp_path.iterdir()), "something was written to find out"
