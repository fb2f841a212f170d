"""What a timed session must agree with, by numbers; test_third_party.py sees a wrong one refused end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mfs_edge.base.errors import CheckFailed
from mfs_edge.base.fidelity import Fidelity
from mfs_edge.bundle.manifest import ArtefactRecord, Source, Verification
from mfs_edge.measure import picture
from mfs_edge.measure.observed import Machine, Observation, Picture
from mfs_edge.sample import probe

PROVEN = np.random.default_rng(0).random((probe.PLACES, 4))
PATH = Path("idn.onnx")


def recorded(precision: str = "int8", *, psnr: float = 48.0) -> ArtefactRecord:
    level = Fidelity(max_abs=0.1, psnr_mean=psnr, psnr_worst=psnr)
    verification = Verification(
        status="passed",
        verified="runtime",
        run="onnxruntime",
        execution="onnxruntime 1.31.1: 26 of 31 convolutions on int8",
        min_psnr=35.0,
        swapped=level,
        mask=level,
        probe=probe.encode(PROVEN),
    )
    return ArtefactRecord(
        **{"file": "idn.onnx", "files": {}, "bytes": 1, "target": "onnx", "precision": precision, "io": "float32"},
        **{"size": 224, "optimize": 1, "checkpoint": Source(name="c", sha256="0"), "identity_sha256": "0"},
        **{"inputs": (), "outputs": (), "operators": {}, "parameters": 1, "macs": 1, "verification": verification},
    )


def seen(error: float, version: str = "1.31.1") -> Observation:
    """A session whose every value is off by ``error``."""
    values = np.where(PROVEN > 0.5, PROVEN - error, PROVEN + error)
    machine = Machine(cpu="x", cores=1, os="x", runtime="onnxruntime", runtime_version=version, threads=1)
    told = Picture(swapped=values[:, :3].tolist(), mask=values[:, 3:].tolist())
    return Observation(machine=machine, picture=told)


def decibels(level: float) -> float:
    return float(10 ** (-level / 20))


@pytest.mark.parametrize(
    ("precision", "level", "version", "passes"),
    [
        ("int8", 47, "1.31.1", True),
        ("int8", 41, "1.31.1", False),  # as another session option made of it
        ("int8", 41, "1.20.0", True),  # another version may round otherwise ...
        ("int8", 34, "1.20.0", False),  # ... as long as the reference stays as near as asked
        ("fp32", 100, "1.31.1", True),
        ("fp32", 70, "1.31.1", False),
    ],
)
def test_how_near_it_must_be(precision: str, level: float, version: str, passes: bool) -> None:
    observation = seen(decibels(level), version)
    if passes:
        line = picture.judge(PATH, recorded(precision), observation, device="local")
        assert "the picture that was proven" in line
        return
    with pytest.raises(CheckFailed, match=r"idn\.onnx: on local the session that was timed does not give the picture"):
        picture.judge(PATH, recorded(precision), observation, device="local")


def test_what_is_not_a_number_is_not_the_picture() -> None:
    with pytest.raises(CheckFailed, match="0 dB"):
        picture.judge(PATH, recorded(), seen(float("nan")), device="local")


def test_nothing_to_compare_with_is_said() -> None:
    assert "no manifest beside it" in picture.judge(PATH, None, seen(0.0), device="local")
    bare = seen(0.0).model_copy(update={"picture": None})
    assert "gives none" in picture.judge(PATH, recorded(), bare, device="adb")
