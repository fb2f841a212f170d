"""Whether integers are worth it where one is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfs_edge
from mfs_edge import target
from mfs_edge.base.progress import Recorded
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.program import Program
from mfs_edge.target import EmitOptions, Loaded
from mfs_edge.verify import speed as pace

IMAGE = np.zeros((1, 3, 32, 32), np.float32)


class Sleeper:
    """A runner of known pace."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(self.seconds)
        return {}


def test_the_ratio_is_how_many_times_as_fast() -> None:
    assert pace.compare(Sleeper(0.004), Sleeper(0.002), IMAGE) == pytest.approx(2, rel=0.3)


@pytest.mark.parametrize(("ratio", "told"), [(0.62, True), (1.3, False)])
def test_only_a_slower_runtime_is_told_of(
    demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    ratio: float, told: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(pace, "compare", lambda slower, faster, image: ratio)
    steps = Recorded()
    mfs_edge.compile(
        identity=demo_identities[0], checkpoint=demo_iin, size=32, precision="int8", out=tmp_path / "build", steps=steps
    )
    assert any("0.62 times the speed of fp32" in note for note in steps.notes) == told
    assert "time idn-32-int8.onnx against fp32" in steps.seconds
    assert {path.name for path in (tmp_path / "build").iterdir()} == {
        "idn-32-int8.base", "idn-32-int8.onnx", "idn-32-int8.onnx.worst.png", "manifest.json"
    }  # fmt: skip


def test_float_artefacts_are_not_timed(demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path) -> None:
    steps = Recorded()
    mfs_edge.compile(identity=demo_identities[0], checkpoint=demo_iin, size=32, out=tmp_path / "build", steps=steps)
    assert not any(step.startswith("time ") for step in steps.seconds)


class Boxed(type(target.get("onnx"))):  # type: ignore[misc]
    """A target whose artefact is a folder, as Core ML's is, and runs here."""

    name = "boxed"
    suffix = ".box"
    packs = False  # it looks for no identity inside

    def emit(self, model: Any, path: Path, options: EmitOptions) -> None:
        (path / "inside").mkdir(parents=True)
        super().emit(model, path / "inside/model.onnx", options)

    def load(self, path: Path, *, threads: int | None = None) -> Loaded:
        return super().load(path / "inside/model.onnx", threads=threads)

    def read(self, path: Path) -> Program:
        return super().read(path if path.suffix == ".onnx" else path / "inside/model.onnx")


def test_an_artefact_that_is_a_folder_is_timed_too(
    demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "registered", lambda: {"boxed": Boxed()})
    monkeypatch.setattr(pace, "compare", lambda slower, faster, image: 0.5)
    steps = Recorded()
    for _ in range(2):  # the second replaces what the first wrote
        result = mfs_edge.compile(
            identity=demo_identities[0], checkpoint=demo_iin, size=32, target="boxed", precision="int8",
            out=tmp_path / "build", steps=steps,
        )  # fmt: skip
        assert result.passed
    assert any("0.50 times the speed of fp32" in note for note in steps.notes)
    assert {path.name for path in (tmp_path / "build").iterdir()} == {
        "idn-32-int8.box", "idn-32-int8.box.worst.png", "manifest.json"
    }  # fmt: skip
    assert [path.name for path in (tmp_path / "build/idn-32-int8.box").rglob("*.onnx")] == ["model.onnx"]
