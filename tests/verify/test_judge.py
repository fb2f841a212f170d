"""What artefacts are judged on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mfs_edge import precisions
from mfs_edge.base.progress import Recorded
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.verify import judge
from mfs_edge.verify.reference import reference_of

SIZE = 32
Made = tuple[dict[str, precisions.Graph], Any]


@pytest.fixture(scope="module")
def made(demo_folded: FoldedIDN) -> Made:
    """The demo's graph in three precisions, and what integers were calibrated on."""
    plain = passes.optimise(build.build(demo_folded.weights(), size=SIZE))
    asked, steps = ("fp32", "fp16", "int8"), Recorded()
    found = precisions.pictures(None, asked, size=SIZE, steps=steps)
    return {p: precisions.make(precisions.Base(plain), p, found, min_psnr=None, steps=steps) for p in asked}, found


def test_integers_are_judged_on_pictures_that_did_not_calibrate_them(
    made: Made, demo_iin: Checkpoint, demo_identities: list[Identity]
) -> None:
    graphs, pictures = made
    steps = Recorded()
    reference = reference_of(demo_iin, demo_identities[0])
    exams = judge.exams(graphs, reference, pictures, size=SIZE, steps=steps)
    assert exams["fp32"] is exams["fp16"]
    assert exams["fp32"].saturation is None
    calibrated = {picture.tobytes() for picture in pictures.images}
    assert not any(picture.tobytes() in calibrated for picture in exams["int8"].pictures)
    assert exams["int8"].saturation
    assert all(0 <= share <= 1 for share in exams["int8"].saturation.values())
    assert sum(step.startswith("run the torch reference") for step in steps.seconds) == 2


def test_only_what_is_asked_for_is_examined(made: Made) -> None:
    def blind(image: np.ndarray) -> dict[str, np.ndarray]:
        return {"swapped": image, "mask": image[:, :1] * 0}

    steps = Recorded()
    exams = judge.exams({"fp32": made[0]["fp32"]}, blind, None, size=SIZE, steps=steps)
    assert list(exams) == ["fp32"]
    assert "finds no face it knows" in steps.notes[0]
