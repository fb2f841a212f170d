"""Hashes, and files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mfs_edge.base import extras, files
from mfs_edge.base.errors import InputError, MissingDependency, OutputError


def test_sha256_of_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"1")
    (tmp_path / "y").write_bytes(b"22")
    assert files.sha256(tmp_path / "y") == hashlib.sha256(b"22").hexdigest()
    before = files.sha256(tmp_path)
    (tmp_path / "y").rename(tmp_path / "z")
    assert files.sha256(tmp_path) != before


def test_atomic_replaces_only_on_success(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.atomic(path) as temporary:
        temporary.write_text(str(1 / len(temporary.read_bytes())))
    assert path.read_text() == "old"
    with files.atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_honours_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with files.atomic(tmp_path / "result") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert (tmp_path / "result").stat().st_mode & 0o777 == 0o640


def test_killed_while_writing(tmp_path: Path) -> None:
    path = tmp_path / "result"
    code = (
        "import os, signal, sys; from pathlib import Path; from mfs_edge.base import files\n"
        "with files.atomic(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not path.exists()


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond a kilobyte, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), files.atomic(tmp_path / "result") as temporary:
        temporary.write_bytes(bytes(4096))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing/result", "file/result", "folder", "x" * 300])
def test_places_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="cannot be written") as caught, files.atomic(tmp_path / name) as temporary:
        temporary.write_text("x")
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "no such file"),
        ("folder", "is a folder"),
        ("empty", "is empty"),
        ("file/inside", "cannot be opened"),
        ("x" * 300, "cannot be opened"),
        ("a\0b", "cannot be opened"),
        ("pipe", "is a device or pipe"),
    ],
)
def test_require_file(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    assert files.require_file(tmp_path / "file", "thing") == tmp_path / "file"
    with pytest.raises(InputError, match=reason) as caught:
        files.require_file(tmp_path / name, "thing")
    assert str(caught.value).isprintable()
    assert "thing" in str(caught.value)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependency, match=r"^cv2 is needed .*pip install 'mfs-edge\[compile\]'$") as caught:
        extras.require("cv2", "compile")
    assert caught.value.exit_code == 3
    assert extras.available("numpy")
    assert not extras.available("no_such_module")


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "額" * 85, "x" * 242])
def test_a_name_as_long_as_the_system_allows(tmp_path: Path, name: str) -> None:
    """The temporary name must not be longer than that."""
    files.write_text(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_is_longer(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long"):
        files.write_text(tmp_path / ("x" * 256), "text")
