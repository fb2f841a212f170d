"""Standard output that is closed, full or not read, and standard error likewise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mfs_edge.load.identity import Identity, save

MFS_EDGE = f"{sys.executable} -m mfs_edge"
PRINTING = ["--help", "--version", "compile --help", "inspect id.npy", "inspect id.npy --json"]


@pytest.fixture
def folder(tmp_path: Path, demo_identities: list[Identity]) -> Path:
    save(demo_identities[0], tmp_path / "id.npy")
    return tmp_path


def shell(command: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MFS_EDGE")}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, env=environment | more, timeout=300
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("where", "reason"), [("> /dev/full", "No space left on device"), (">&-", "it is closed")])
@pytest.mark.parametrize("command", PRINTING)
def test_output_that_cannot_be_written(folder: Path, command: str, where: str, reason: str, unbuffered: str) -> None:
    done = shell(f"{MFS_EDGE} {command} {where}", folder, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"mfs-edge: standard output: cannot be written ({reason})")


@pytest.mark.parametrize("command", PRINTING)
def test_a_reader_that_has_gone(folder: Path, command: str) -> None:
    """Quietly, with what a shell reports of a program that SIGPIPE ended."""
    done = shell(f"{MFS_EDGE} {command} | true; exit ${{PIPESTATUS[0]}}", folder)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("json_too", ["", "--json"])
@pytest.mark.parametrize("where", ["> /dev/full", ">&-", "| true"])
def test_finished_work_is_kept(folder: Path, where: str, json_too: str) -> None:
    done = shell(f"{MFS_EDGE} compile --identity id.npy --size 64 {json_too} {where}; exit ${{PIPESTATUS[0]}}", folder)
    assert done.returncode == (141 if where == "| true" else 2)
    assert "Traceback" not in done.stderr
    assert "internal" not in done.stderr
    (artefact,) = json.loads((folder / "build/manifest.json").read_text())["artefacts"]
    assert (folder / "build" / artefact["file"]).stat().st_size == artefact["bytes"]


@pytest.mark.parametrize("where", ["2> /dev/full", "2>&-", "2> >(true)"])
@pytest.mark.parametrize(
    ("command", "code"), [("compile --identity id.npy --size 64 --json", 0), ("inspect none.npy", 2)]
)
def test_standard_error_carries_no_results(folder: Path, command: str, code: int, where: str) -> None:
    done = shell(f"{MFS_EDGE} {command} {where}", folder)
    assert done.returncode == code
    if code == 0:
        assert json.loads(done.stdout)["passed"] is True


def test_a_failed_command_keeps_its_code(folder: Path) -> None:
    done = shell(f"{MFS_EDGE} inspect none.npy --json > /dev/full", folder)
    assert done.returncode == 2
    done = shell(f"{MFS_EDGE} compile --identity id.npy --size 64 --min-psnr 199 > /dev/full", folder)
    assert done.returncode in (1, 2)
    assert "internal" not in done.stderr


def test_closed_streams_are_not_taken_by_a_file(folder: Path) -> None:
    """The next file that is opened would otherwise be descriptor 1, and get what is printed."""
    done = shell(f"{MFS_EDGE} compile --identity id.npy --size 64 <&- >&- 2>&-", folder)
    assert done.returncode == 2
    again = shell(f"{MFS_EDGE} inspect build --json", folder)
    assert again.returncode == 0
    assert shell(f"{MFS_EDGE} bench build --no-time", folder).returncode == 0


def test_an_ascii_terminal_gets_escapes(folder: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = shell(f"{MFS_EDGE} compile --identity id.npy --size 64", folder, **plain)
    assert done.returncode == 0, done.stderr
    assert "  ok emit onnx fp32" in done.stderr
    done = shell(f"{MFS_EDGE} compile --identity id.npy --size 64 --out größe", folder, **plain)
    assert done.returncode == 2
    assert "LC_ALL=C.UTF-8" in done.stderr
