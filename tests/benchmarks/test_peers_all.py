"""Contenders in processes of their own: timed in turns, and their failures recorded."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import peer_environments, peer_race, peer_results, peers_all
from benchmarks.peer_results import Results, Row
from benchmarks.peers_all import OURS, Contender
from mfs_edge.base.errors import CheckFailed, InputError, MissingDependency

FRAME = np.zeros((1, 3, 4, 4), np.float32)
SCRIPT = """
import json, os, sys, time
import numpy as np
kind, path, image, threads, out = sys.argv[1:]
if kind == "refuses":
    sys.exit("it will not load")
picture = np.load(image)
np.save(out, picture + (0.5 if kind == "wrong" else 0))
print(json.dumps({"runtime": kind + " 1.0"}), flush=True)
for number, line in enumerate(sys.stdin):
    if kind == "dies" and number == 2:
        os._exit(7)
    print(json.dumps([{"slow": 20.0}.get(kind, 10.0)] * int(line)), flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "child.py").write_text(SCRIPT)
    monkeypatch.setattr(peer_race, "SCRIPT", tmp_path / "child.py")
    monkeypatch.setattr(peers_all, "_expected", lambda folder: FRAME)
    np.save(tmp_path / "image.npy", FRAME)
    return tmp_path


def contender(name: str, runtime: str, folder: Path) -> Contender:
    path = folder / f"{name}.model"
    path.write_bytes(b"weights")
    return Contender(name, runtime, sys.executable, path, 0.25)


def test_everybody_is_held_against_ours_and_failures_are_recorded(folder: Path) -> None:
    kinds = ("even", "slow", "wrong", "refuses", "dies")
    contenders = [contender(OURS, "even", folder), *(contender(kind, kind, folder) for kind in kinds)]
    rows = {row.contender: row for row in peers_all.compare(contenders, folder, (1, 2), 6)}
    assert [timed.threads for timed in rows["slow"].timed] == [1, 2]
    assert {timed.ratio for timed in rows["slow"].timed} == {2.0}
    assert {timed.against for timed in rows["slow"].timed} == {f"{OURS} on even"}
    assert (rows["slow"].runtime, rows["slow"].bytes, rows["slow"].conversion_s) == ("slow 1.0", 7, 0.25)
    assert (rows["wrong"].status, rows["wrong"].timed) == ("wrong", ())
    assert "0.5" in rows["wrong"].reason
    assert (rows["refuses"].status, rows["refuses"].reason) == ("failed", "it will not load")
    assert (rows["dies"].status, rows["dies"].reason) == ("failed", "died while it was timed (exit code 7)")
    assert rows["even"].status == "ok"


def test_without_ours_there_is_nothing_to_hold_against(folder: Path) -> None:
    with pytest.raises(CheckFailed, match="none of our files ran"):
        peers_all.compare([contender("slow", "slow", folder)], folder, (1,), 2)


def test_what_nothing_here_runs_has_size_and_seconds_alone(folder: Path) -> None:
    rows = peers_all.compare([contender(OURS, "even", folder), contender("apple", "", folder)], folder, (1,), 2)
    assert (rows[1].status, rows[1].timed, rows[1].bytes) == ("ok", (), 7)
    assert "needs macOS" in rows[1].runtime


def test_a_conversion_that_fails_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, say: object) -> Path:
        raise MissingDependency(f"{name}: cannot be installed (no such version)")

    monkeypatch.setattr(peer_environments, "ensure", broken)
    found, failed = peers_all.convert(32, tmp_path)
    assert {one.name.split()[0] for one in found} == {OURS, "torch.onnx.export", "coremltools.convert"}
    assert {row.contender for row in failed} == set(peers_all.CHILDREN)
    assert all(row.status == "failed" and "no such version" in row.reason for row in failed)


def results(**changes: object) -> Results:
    machine = {"cpu": "a CPU", "cores": 2, "system": "Linux", "python": "3.11"}
    timed = {"threads": 1, "median_ms": 10, "low_ms": 9, "high_ms": 12, "against": OURS, "ratio": 1}
    timed |= {"ratio_low": 1, "ratio_high": 1}
    row = Row.model_validate(
        {"contender": OURS, "ours": True, "runtime": "LiteRT 2", "status": "ok", "timed": (timed,), **changes}
    )
    return Results.model_validate({"network": "n", "size": 224, "machine": machine, "rows": (row,)})


def test_results_are_strict_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    path.write_text(results().model_dump_json())
    assert peer_results.load(path) == results()
    path.write_text(results().model_dump_json().replace('"size"', '"sighs"'))
    with pytest.raises(InputError, match=r"peers\.json: size.*run peers\.py all again"):
        peer_results.load(path)


def test_table_and_plot_show_every_row(tmp_path: Path) -> None:
    text = peer_results.markdown(results(bytes=2_000_000, conversion_s=0.5))
    assert "| mfs-edge | LiteRT 2 | ok | 0.50 | 2.00 | 10.00 | 1.00 | - | - |" in text
    assert "a CPU, 2 cores" in text
    peer_results.draw(results(), tmp_path / "peers.png")
    assert 2_000 < (tmp_path / "peers.png").stat().st_size < 60_000


def test_every_peer_has_an_environment() -> None:
    for name in peers_all.CHILDREN:
        assert all("==" in requirement or requirement in ("numpy", "safetensors") for requirement in
                   peer_environments.requirements(name))  # fmt: skip


def test_an_environment_that_cannot_be_installed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(peer_environments, "requirements", lambda name: ["no-such-package-as-this==0.0.1"])
    with pytest.raises(MissingDependency, match="ncnn: cannot be installed"):
        peer_environments.ensure("ncnn", lambda line: None)
    assert not list(tmp_path.rglob(peer_environments.READY))
