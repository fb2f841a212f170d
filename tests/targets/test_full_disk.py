"""A full disk, and a full folder for temporary files: one line says so, and nothing half-written is left.

OpenVINO and coremltools write in C++, and tell of either in words such as "iostream error".
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge import target
from mfs_edge.base import files
from mfs_edge.base.errors import OutputError
from mfs_edge.load.identity import Identity
from mfs_edge.target import EmitOptions
from tests.targets.integers import Graphs

NAMES = ("coreml", "onnx", "openvino", "tflite")
PRECISIONS = ("fp32", "fp16", "int8")


@pytest.fixture
def limit() -> Iterator[None]:
    """Whatever limit on the size of files a test sets, in whose place the kernel answers as for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("most", [0, 1_000, 50_000, 400_000])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("limit")
def test_one_line_says_so(
    demo_integers: Graphs, tmp_path: Path, temporary: Path, name: str, precision: str, most: int
) -> None:
    kind, graph = target.get(name), demo_integers("int8" if precision == "int8" else "fp32")
    out = tmp_path / "out"
    out.mkdir()
    path = out / f"idn{kind.suffix}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with pytest.raises(OutputError) as caught:
        kind.emit(graph, path, EmitOptions(precision))
    assert str(caught.value) == f"{path}: cannot be written (File too large); free space or choose another place"
    del caught  # what coremltools keeps among the temporary files lives as long as the frames of its exception
    gc.collect()
    assert not [*out.iterdir(), *temporary.iterdir()]


def child(*words: object, most: int | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Python, of which no file may grow beyond ``most`` bytes."""
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most})); " if most is not None else ""
    command = [sys.executable, "-c", f"{code}from mfs_edge.cli.main import main; main()", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})


@pytest.fixture
def known(golden_identity: Identity, tmp_path: Path) -> Path:
    path = tmp_path / "id.npz"
    np.savez(path, embedding=golden_identity.embedding, feature_map=golden_identity.feature_map)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_the_command(known: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    done = child("compile", "--identity", known, "--size", 64, "--target", name, "--out", out, most=100_000)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("mfs-edge: ")]
    assert done.returncode == 2
    assert re.match(rf"mfs-edge: {out}/.*cannot be written \(File too large\); free space or choose another", line)
    assert not out.exists()


ON_A_SMALL_DISK = """
import json, os, subprocess, sys, tempfile
from pathlib import Path
import onnx_ir as ir
from mfs_edge import target
from mfs_edge.base.errors import OutputError
name, model, disk, elsewhere, what, *sizes = sys.argv[1:]
kind, graph = target.get(name), ir.load(model)
out = Path(disk if what == "out" else elsewhere)
tempfile.tempdir = elsewhere if what == "out" else disk
for size in sizes:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", disk], check=True)
    said = ""
    try:
        kind.emit(graph, out / f"idn{kind.suffix}", target.EmitOptions("fp32"))
    except OutputError as error:
        said = str(error)
    print(json.dumps([said, sorted(os.listdir(disk) + os.listdir(elsewhere))]))
    subprocess.run(["umount", disk], check=True)
    subprocess.run(["rm", "-rf", *Path(elsewhere).iterdir()], check=True)
"""
SIZES = (4, 8, 64, 400, 1000, 1500, 1800, 1940)  # KiB; the last are nearly enough
as_root = pytest.mark.skipif(
    shutil.which("unshare") is None or os.geteuid() != 0, reason="mounts small disks: needs root, as CI has"
)


def on_a_small_disk(model: ir.Model, folder: Path, name: str, what: str) -> list[tuple[str, list[str]]]:
    """What is said, and what is left, on disks of different sizes that hold the output or the temporary files."""
    ir.save(model, folder / "model.onnx")
    places = [folder / "disk", folder / "elsewhere"]
    for place in places:
        place.mkdir()
    given = [name, str(folder / "model.onnx"), *map(str, places), what, *map(str, SIZES)]
    command = ["unshare", "--mount", sys.executable, "-c", ON_A_SMALL_DISK, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [tuple(json.loads(line)) for line in done.stdout.splitlines() if line.startswith("[")]


@as_root
@pytest.mark.parametrize("name", NAMES)
def test_a_disk_too_small(demo_integers: Graphs, tmp_path: Path, name: str) -> None:
    path = tmp_path / "disk" / f"idn{target.get(name).suffix}"
    found = on_a_small_disk(demo_integers("fp32"), tmp_path, name, "out")
    assert len(found) == len(SIZES)
    wanted = f"{path}: cannot be written (No space left on device); free space or choose another place"
    assert [entry for entry in found if entry != (wanted, [])] in ([], [("", [path.name])])


@as_root
@pytest.mark.parametrize("name", NAMES)
def test_a_full_folder_for_temporary_files(demo_integers: Graphs, tmp_path: Path, name: str) -> None:
    """coremltools alone needs it."""
    found = on_a_small_disk(demo_integers("fp32"), tmp_path, name, "temporary")
    assert len(found) == len(SIZES)
    told = (
        f"{tmp_path}/disk: temporary files cannot be written (No space left on device); free space there, or name "
        "another folder in $TMPDIR"
    )
    beside = [f"idn{target.get(name).suffix}", *(["idn.bin"] if name == "openvino" else [])]
    wanted = (told, []) if name == "coreml" else ("", sorted(beside))
    assert [entry for entry in found if entry != wanted] == []


@pytest.mark.usefixtures("temporary")
def test_what_else_a_library_says_is_passed_on(tmp_path: Path) -> None:
    """Where there is room, it is no full disk; words of writing are told, others are a defect that must show."""
    for words, kind in (("basic_ios::clear: iostream error", OutputError), ("rank mismatch", RuntimeError)):
        with pytest.raises(kind, match=words) as caught, files.converting(tmp_path / "a", size=1_000_000):
            raise RuntimeError(words)
        assert type(caught.value) is kind


def test_a_place_that_is_not_there(demo_integers: Graphs, tmp_path: Path) -> None:
    for name in NAMES:
        path = tmp_path / "gone" / f"idn{target.get(name).suffix}"
        with pytest.raises(OutputError, match=r"gone/.*cannot be written \(No such file or directory\)"):
            target.get(name).emit(demo_integers("fp32"), path, EmitOptions("fp32"))


@as_root
@pytest.mark.parametrize("room", ["4k", "16k"])
def test_measuring_with_a_full_folder_for_temporary_files(artefacts: Path, tmp_path: Path, room: str) -> None:
    """What goes to a device lies there first, though that is this machine."""
    disk = tmp_path / "disk"
    disk.mkdir()
    given = f"mount -t tmpfs -o size={room} none {disk}; TMPDIR={disk} exec {sys.executable} -m mfs_edge bench "
    command = ["unshare", "--mount", "sh", "-c", given + str(artefacts / "idn.tflite")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("mfs-edge: ")]
    assert done.returncode == 2
    assert line == (
        f"mfs-edge: {disk}: temporary files cannot be written (No space left on device); free space there, or name "
        "another folder in $TMPDIR"
    )
