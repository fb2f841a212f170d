"""A run that is killed at any moment leaves the old folder or the new one, and nothing in the next run's way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

REPOSITORY = Path(__file__).parents[2]
TRIALS = 300


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is to be had: thousands of times fsync takes minutes."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path / "out"
        return
    with TemporaryDirectory(dir=memory) as made:
        yield Path(made) / "out"


def failures(folder: Path, *arguments: str, module: str = "tests.bundle.killed") -> tuple[list[str], str]:
    """What ``tests/bundle/killed.py``, or another, found wrong, and what it said of its trials."""
    command = [sys.executable, "-m", module, str(folder), *arguments]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return ended.stdout.splitlines(), ended.stderr


@pytest.mark.parametrize("forms", ["openvino", "coreml", "onnx tflite external"])
def test_before_every_operation(folder: Path, forms: str) -> None:
    wrong, said = failures(folder, "each", *forms.split())
    assert wrong == []
    assert said.count("kills") == 3


def test_at_random(folder: Path) -> None:
    wrong, said = failures(folder, "random", str(TRIALS))
    assert wrong == []
    assert int(said.split()[0]) > TRIALS / 2  # the others had ended


def test_the_demo_before_every_operation(folder: Path) -> None:
    wrong, said = failures(folder, module="tests.pipeline.killed_demo")
    assert wrong == []
    assert said.count("kills") == 2
