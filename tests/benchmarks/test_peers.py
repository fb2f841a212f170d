"""Contenders in processes of their own: timed in turns, and their failures recorded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import (
    peer_child,
    peer_contenders,
    peer_convert,
    peer_environments,
    peer_plot,
    peer_race,
    peerlib,
    peers,
)
from benchmarks.peer_contenders import CONTENDERS, OURS, Contender
from mfs_edge import target
from mfs_edge.base.errors import CheckFailed, MissingDependency

SIZE = 64
FRAME = np.zeros((1, 3, 4, 4), np.float32)
SCRIPT = """
import json, os, sys
import numpy as np
kind, path, images, threads, out = sys.argv[1:]
if kind == "refuses":
    sys.exit("it will not load")
np.savez(out, swapped=np.load(images)[:, None] + (0.5 if kind == "wrong" else 0))
print(json.dumps({"runtime": kind + " 1.0", "coverage": {"partitions": 3}}), flush=True)
for number, line in enumerate(sys.stdin):
    if kind == "dies" and number == 2:
        os._exit(7)
    print(json.dumps([[{"slow": 20.0}.get(kind, 10.0), 5.0]] * int(line)), flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "child.py").write_text(SCRIPT)
    monkeypatch.setattr(peer_race, "SCRIPT", tmp_path / "child.py")
    monkeypatch.setattr(peers, "_expected", lambda folder: {"swapped": FRAME})
    np.save(tmp_path / "images.npy", FRAME)
    return tmp_path


def contender(by: str, runtime: str) -> Contender:
    return Contender(by, ".model", runtime, Path("x.model"), name=by)


def rows_of(contenders: list[Contender], folder: Path) -> dict[str, Any]:
    return {row["converted by"]: row for row in peers.compare(contenders, folder, 1, 6, 4)}


def test_everybody_is_held_against_ours_and_failures_are_recorded(folder: Path) -> None:
    kinds = ("even", "slow", "wrong", "refuses", "dies")
    rows = rows_of([contender(OURS, "even"), *(contender(kind, kind) for kind in kinds)], folder)
    slow = rows["slow"]
    assert (slow["runtime"], slow["partitions"], slow["status"]) == ("slow 1.0", 3, "ok")
    assert (slow["median ms"], slow["CPU ms"], slow["of ours"], slow["in CPU time"]) == (20, 5, 2, 1)
    assert rows["wrong"]["status"] == "wrong: its picture differs by 0.5"
    assert rows["refuses"]["status"] == "failed: it will not load"
    assert rows["dies"]["status"] == "failed: died while it was timed (exit code 7)"
    assert rows["even"]["status"] == "ok"
    assert [name for name, row in rows.items() if "of ours" in row] == [OURS, "even", "slow"]


def test_without_ours_there_is_nothing_to_hold_against(folder: Path) -> None:
    with pytest.raises(CheckFailed, match="none of our files ran"):
        rows_of([contender("slow", "slow")], folder)


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs on macOS")
def test_what_nothing_here_runs_says_so(folder: Path) -> None:
    rows = rows_of([contender(OURS, "even"), contender("apple", "coreml")], folder)
    assert rows["apple"]["status"] == "not run: needs macOS"
    assert "median ms" not in rows["apple"]


def test_our_file_and_an_export_are_converted_counted_and_raced(tmp_path: Path) -> None:
    contenders, files = peer_contenders.convert(peer_contenders.select(["onnx"]), SIZE, tmp_path)
    theirs, ours = files
    assert (ours["converted by"], ours["status"]) == (OURS, "ok")
    assert theirs["converted by"].startswith("torch.onnx.export")
    assert ours["operators"] < theirs["operators"]
    assert 1.9 < ours["MB"] < theirs["MB"]
    rows = peers.compare(contenders, tmp_path, 1, 2, SIZE)
    assert [row["runtime"].split()[0] for row in rows] == ["onnxruntime", "onnxruntime"]
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert rows[0]["of ours"] == 1
    other = {key: array * np.float32(1.1) for key, array in peerlib.demo_weights(1).items()}
    from safetensors.numpy import save_file

    save_file(other, tmp_path / "other.safetensors")
    peer_convert.ours(peer_convert.Job(str(tmp_path / "other.safetensors"), "", SIZE, contenders[0].path))()
    with pytest.raises(CheckFailed, match="none of our files ran"):
        peers.compare(contenders, tmp_path, 1, 2, SIZE)


def test_ours_stand_beside_whoever_is_named() -> None:
    def keys(*only: str) -> set[str]:
        return {one.key for one in peer_contenders.select(only)}

    assert keys() == {one.key for one in CONTENDERS}
    assert keys("litert-torch") == {f"{OURS} on tflite", "litert-torch on tflite"}
    assert keys("openvino") == {f"{by} on openvino" for by in (OURS, "torch.onnx.export", "ov.convert_model")}
    assert keys("MNN") == {*(f"{OURS} on {name}" for name in target.registered()), "MNN on MNN"}


def test_whoever_is_named_can_be_converted_and_run() -> None:
    every = (*CONTENDERS, *peer_contenders.INT8)
    assert {one.by for one in every} == peer_convert.CONVERTERS.keys()
    assert {one.runtime for one in every} == {*target.registered(), *peer_child.PEERS}


def test_a_conversion_that_fails_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, *arguments: object) -> str:
        if name != OURS:
            raise MissingDependency(f"{name}: cannot be installed (no such version)")
        Path(str(arguments[-1])).write_bytes(b"weights")
        return json.dumps({"name": OURS, "seconds": 0.25})

    monkeypatch.setattr(peer_environments, "run", broken)
    monkeypatch.setattr(peer_contenders, "costs", lambda path: {"MB": 1.0})
    found, files = peer_contenders.convert(CONTENDERS, 32, tmp_path)
    assert {(one.name, one.seconds) for one in found} == {(OURS, 0.25)}
    failed = {row["converted by"]: row["status"] for row in files if row["status"] != "ok"}
    assert failed.keys() == {one.by for one in CONTENDERS} - {OURS}
    assert all("no such version" in status for status in failed.values())


def test_a_format_of_others_has_its_size_alone(tmp_path: Path) -> None:
    for suffix in (".param", ".bin"):
        (tmp_path / f"ncnn{suffix}").write_bytes(bytes(500_000))
    assert peer_contenders.costs(tmp_path / "ncnn.param") == {"MB": 1.0}


def test_table_and_plot_show_every_row(tmp_path: Path) -> None:
    named = {"px": 224, "threads": 1, "runtime": "LiteRT 2"}
    rows = [
        {"converted by": OURS, **named, "median ms": 10.0, "quartiles": (9.0, 12.5)},
        {"converted by": "another", **named, "status": "wrong"},
    ]
    text = peerlib.markdown(rows)
    assert "| mfs-edge | 224 | 1 | LiteRT 2 | 10.00 | 9.00..12.50 | - |" in text
    assert "| another | 224 | 1 | LiteRT 2 | - | - | wrong |" in text
    peer_plot.draw(rows, tmp_path / "peers.png")
    assert 2_000 < (tmp_path / "peers.png").stat().st_size < 60_000
    peerlib.save(tmp_path / "new" / "peers.json", {"runs": rows})
    assert json.loads((tmp_path / "new" / "peers.json").read_text())["runs"][0]["quartiles"] == [9.0, 12.5]


def test_every_environment_is_of_fixed_versions() -> None:
    wanted = peer_environments.requirements()
    assert wanted.keys() == {"litert-torch", "executorch", "MNN", "ncnn", "IREE", "emx-onnx-cgen", "nncf"}
    assert all("==" in each or each in ("numpy", "safetensors") for found in wanted.values() for each in found)


def test_an_environment_that_cannot_be_installed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(peer_environments, "requirements", lambda: {"ncnn": ["no-such-package-as-this==0.0.1"]})
    with pytest.raises(MissingDependency, match="ncnn: cannot be installed"):
        peer_environments.python("ncnn")
    assert not list(tmp_path.rglob(peer_environments.READY))
