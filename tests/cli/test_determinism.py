"""The same inputs give the same bytes, whatever the machine's mood: every file and the manifest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mfs_edge.base import files
from mfs_edge.load.identity import Identity, save

# What must not show in a file: the order of sets, threads, the clock, the place, the language.
MOODS = (
    {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1", "TZ": "UTC", "LC_ALL": "C"},
    {"PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "2", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": "1"},
)


def compiled(folder: Path, identity: Identity, mood: dict[str, str], *arguments: str) -> dict[str, str]:
    """Relative path -> hash of all that a run in ``folder`` wrote."""
    folder.mkdir()
    save(identity, folder / "id.npy")
    command = [sys.executable, "-m", "mfs_edge", "compile", "--identity", "id.npy", "--size", "64", "--out", "out"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MFS_EDGE")} | mood
    subprocess.run([*command, *arguments], cwd=folder, env=environment, check=True, capture_output=True, timeout=300)
    return {str(path.relative_to(folder)): files.sha256(path) for path in files.under(folder / "out")}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--target", "all"],
        ["--target", "onnx", "--target", "tflite", "--precision", "fp16", "--no-verify"],
        ["--target", "onnx", "--target", "tflite", "--precision", "int8", "--no-verify"],
    ],
    ids=["all", "fp16", "int8"],
)
def test_two_processes_write_the_same_bytes(
    arguments: list[str], demo_identities: list[Identity], tmp_path: Path
) -> None:
    first, second = (
        compiled(tmp_path / f"run {number}", demo_identities[0], mood, *arguments) for number, mood in enumerate(MOODS)
    )
    assert len(first) > len([a for a in arguments if a == "--target"])
    assert first == second


def test_another_identity_does_not(demo_identities: list[Identity], tmp_path: Path) -> None:
    """The comparison can fail."""
    one, other = (compiled(tmp_path / str(n), demo_identities[n], MOODS[0], "--target", "onnx") for n in (0, 1))
    assert one.keys() == other.keys()
    assert {name for name in one if one[name] == other[name]} == {"out/idn-64-fp32.base"}  # in fp32, nobody's
