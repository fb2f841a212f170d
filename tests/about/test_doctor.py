"""What is installed, and what can be done with it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mfs_edge.about import doctor
from mfs_edge.base import extras


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
    assert (onnx.runs, onnx.remedy) == (False, "pip install 'mfs-edge[onnx]'")


def test_an_emulated_pi_that_cannot_be_had_comes_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = doctor.diagnose().emulation
    assert found.devices == ("emulated:rpi5", "emulated:rpi4")
    assert (found.available, found.built) == (False, False)
    assert ("apt-get install gcc" if sys.platform.startswith("linux") else "Linux only") in found.said
    assert not list(tmp_path.iterdir()), "something was written to find out"
