"""Which compiler makes the library, and what is said where there is none."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mfs_edge.targets.native import NativeTarget, engine

from mfs_edge.about import doctor
from mfs_edge.base.errors import MissingDependency
from mfs_edge.target import EmitOptions
from tests.targets.native.test_family import Builder

HEAVY = ("torch", "onnx", "onnx_ir", "onnxruntime", "cv2", "coremltools")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("c") / "a.idn"
    NativeTarget().emit(Builder(2, 32).model([4] * 5, [4] * 4, [4, 4, 4, 4, 2], 4), path, EmitOptions())
    return path


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No compiler on the path, none named, no library made before."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("MFS_EDGE_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("nothing")
def test_ziglang_is_taken_where_the_system_has_none(written: Path) -> None:
    target = NativeTarget()
    assert target.run_needs == ("jinja2", "ziglang")
    loaded = target.load(written)
    assert loaded.run(np.zeros((1, 3, 32, 32), np.float32))["mask"].shape == (1, 1, 32, 32)
    assert " compiled by zig 0." in loaded.execution()


@pytest.mark.usefixtures("nothing")
def test_without_any_the_extra_is_named(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "ziglang" else real(name, *a))
    with pytest.raises(MissingDependency, match=r"no gcc, clang or cc is found.*pip install 'mfs-edge\[native\]'"):
        NativeTarget().load(written)
    report = next(each for each in doctor.diagnose().targets if each.name == "c")
    assert (report.runs, report.remedy) == (False, "to run only: pip install jinja2 ziglang")


@pytest.mark.parametrize("named", ["no-such-compiler", "/usr/bin/no-such -O1", "ccache-that-is-not gcc"])
def test_what_cc_names_must_be_there(written: Path, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is taken silently, whatever there is."""
    monkeypatch.setenv("CC", named)
    with pytest.raises(MissingDependency, match=rf"\$CC names {named.split()[0]}, which is not found"):
        NativeTarget().load(written)
    assert any(f"$CC names {named.split()[0]}" in problem for problem in doctor.diagnose().problems)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc, as CI has")
def test_a_command_with_options_is_one(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And makes a library of its own; the next time it is taken from the cache."""
    monkeypatch.setenv("MFS_EDGE_CACHE", str(tmp_path))
    for command in ("gcc", "gcc -fno-plt", "gcc"):
        monkeypatch.setenv("CC", command)
        NativeTarget().load(written)
    assert len(list((tmp_path / "native").iterdir())) == 2
    monkeypatch.setattr(engine, "run_compiler", lambda command: pytest.fail("compiled again"))
    NativeTarget().load(written)


def test_a_folder_is_read_vouched_for_and_run_without_the_compilers_packages(written: Path) -> None:
    script = f"""
import sys, numpy as np
for name in {HEAVY!r}: sys.modules[name] = None
from pathlib import Path
from mfs_edge import target
loaded = target.get("c").load(Path({str(written)!r}))
print(loaded.run(np.zeros((1, 3, 32, 32), np.float32))["swapped"].shape)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ))
    assert (done.stdout.strip(), done.returncode) == ("(1, 3, 32, 32)", 0), done.stderr
