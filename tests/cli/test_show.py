"""Hostile names and metadata, in every table, message and page: they are letters, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from mfs_edge.cli import show
from mfs_edge.load.identity import Identity, save
from mfs_edge.measure import page, summary
from mfs_edge.measure.observed import Layer
from mfs_edge.measure.results import Report
from tests.measure.conftest import entry

ESCAPES = "\x1b[31m\x1b]0;owned\x07\x9b2J\u202e"
MARKUP = "[/b][red]:smile:[link=file:///etc/passwd]"
HOSTILE = f"{MARKUP}{ESCAPES}\\"


@pytest.fixture(scope="module")
def hostile(artefacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact that runs, whose name, metadata, tensors and nodes say what they should not."""
    model = onnx.load(artefacts / "idn.onnx")
    for key in (HOSTILE, "author"):
        model.metadata_props.add(key=key, value=HOSTILE)
    model.producer_name = model.doc_string = HOSTILE
    for node in model.graph.node:
        node.name = f"{HOSTILE}{node.name}"
    path = tmp_path_factory.mktemp("hostile") / "[red]\x1b[31m\u202ex.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def demo_identity_file(tmp_path_factory: pytest.TempPathFactory, demo_identities: list[Identity]) -> Path:
    path = tmp_path_factory.mktemp("identity") / "id.npy"
    save(demo_identities[0], path)
    return path


def mfs_edge(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MFS_EDGE")}
    environment |= {"FORCE_COLOR": "1", "COLUMNS": "400"}
    command = [sys.executable, "-m", "mfs_edge", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, env=environment, timeout=300)


def harmless(printed: bytes) -> None:
    """Colours of ours may be there; nothing of theirs."""
    text = printed.decode()
    for sign in ("\x1b]", "\x07", "\x9b", "\u202e", "\x1b[31mx", "owned\x07"):
        assert sign not in text, sign
    assert "Traceback" not in text
    assert "internal error" not in text


@pytest.mark.parametrize("more", [[], ["--layers"], ["--json"]])
def test_inspect(hostile: Path, tmp_path: Path, more: list[str]) -> None:
    done = mfs_edge(tmp_path, "inspect", str(hostile), *more)
    assert done.returncode == 0, done.stderr
    harmless(done.stdout + done.stderr)
    if not more:
        assert MARKUP.encode() in done.stdout.replace(b"\n", b"")
        assert rb"\x1b]0;owned\x07\x9b2J\u202e" in done.stdout


def test_bench_and_what_it_writes(hostile: Path, tmp_path: Path) -> None:
    written = ["--json", "r.json", "--markdown", "r.md", "--html", "r.html", "--history", "h.jsonl"]
    budget = tmp_path / "b.toml"
    budget.write_text("[default]\nbytes = 1\nmacs = 1\n")
    done = mfs_edge(tmp_path, "bench", str(hostile), "--no-time", "--budget", str(budget), *written)
    assert done.returncode == 1
    harmless(done.stdout + done.stderr)
    for name in ("r.json", "r.md", "r.html", "h.jsonl"):
        harmless((tmp_path / name).read_bytes())
        assert b"\x1b" not in (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", ["[/b]x", "[red]", f"a{ESCAPES}b", "a\nb", "back\\", ":smile:", "[bold]a[/bold]"])
def test_a_folder_of_any_name(tmp_path: Path, name: str, demo_identity_file: Path) -> None:
    """After all the work was done, its line must not be what fails."""
    words = ["compile", "--identity", str(demo_identity_file), "--size", "64", "--no-verify", "--out", name]
    done = mfs_edge(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    harmless(done.stdout + done.stderr)
    assert (tmp_path / name / "manifest.json").exists()
    for command in ("inspect", "bench"):
        again = mfs_edge(tmp_path, command, name, *(["--no-time"] if command == "bench" else []))
        assert again.returncode == 0, again.stderr
        harmless(again.stdout + again.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", f"none{HOSTILE}"],
        ["bench", f"none{HOSTILE}"],
        ["bench", "--device", f"ssh:{HOSTILE}@host"],
        ["bench", "--device", HOSTILE],
        ["compile", "--identity", HOSTILE],
        ["compile", "--identity", "x", "--target", HOSTILE],
        ["compile", "--identity", "x", "--set", HOSTILE],
        ["compile", "--identity", "x", "--size", HOSTILE],
        [HOSTILE],
        [f"--{HOSTILE}"],
    ],
)
def test_messages(tmp_path: Path, words: list[str]) -> None:
    done = mfs_edge(tmp_path, *words)
    assert done.returncode in (2, 3)
    harmless(done.stdout + done.stderr)
    assert sum(b"mfs-edge: " in line for line in done.stderr.splitlines()) == 1


def test_what_devices_say(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of a machine, of its runtime and of layers come from elsewhere, too."""
    row = entry(device=f"ssh:{HOSTILE}")
    machine = row.observation.machine.model_copy(update={"cpu": HOSTILE, "governor": HOSTILE, "os": HOSTILE})
    layers = (Layer(name=HOSTILE, kind=HOSTILE, ms=1.0),)
    seen = row.observation.model_copy(update={"machine": machine, "notes": (HOSTILE,), "layers": layers})
    facts = row.facts.model_copy(update={"file": HOSTILE, "operators": {HOSTILE: 3}})
    row = row.model_copy(update={"observation": seen, "facts": facts, "machine_key": machine.key})
    told = Report(versions={"mfs-edge": HOSTILE}, entries=(row,), notes=(HOSTILE,), causes=(HOSTILE, "last"))
    show.benched(told, profile=True)
    caught = capsys.readouterr()
    for text in (caught.out, caught.err, summary.render(told), page.render(told, ())):
        harmless(text.encode())
        assert r"\x1b[31m\x1b]0;owned\x07\x9b2J\u202e" in text
    assert "<b>" not in page.render(told, ())
