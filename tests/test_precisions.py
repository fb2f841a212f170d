"""One graph in each precision, and which pictures that takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import mfs_edge
from mfs_edge import bundle, precisions
from mfs_edge.base import images
from mfs_edge.base.errors import UsageError
from mfs_edge.base.progress import Recorded
from mfs_edge.bundle import manifest
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.quantize.calibration import CalibrationSet
from mfs_edge.sample import FACES, target

Make = Callable[..., precisions.Graph]


@pytest.fixture(scope="module")
def plain(demo_folded: FoldedIDN) -> ir.Model:
    return passes.optimise(build.build(demo_folded.weights(), size=32))


@pytest.fixture(scope="module")
def make(demo_folded: FoldedIDN) -> Make:
    def made(precision: str, calibration: CalibrationSet | None = None) -> precisions.Graph:
        return precisions.make(
            precisions.Base.of([demo_folded], size=32, optimize=1),
            precision,
            calibration,
            min_psnr=None,
            steps=Recorded(),
        )

    return made


def pictures(path: Path | None, *asked: str) -> CalibrationSet | None:
    return precisions.pictures(path, asked, size=32, steps=Recorded())


def test_pictures_are_read_only_where_a_precision_needs_them(tmp_path: Path) -> None:
    assert pictures(None, "fp32", "fp16") is None
    assert pictures(tmp_path / "not looked for", "fp32") is None
    given = pictures(FACES, "fp16")
    assert given is not None
    assert given.source == FACES.name


def test_half_precision_is_the_same_whatever_is_made_beside_it(make: Make) -> None:
    alone, beside = make("fp16"), make("fp16", pictures(None, "fp16", "int8"))
    assert ir.to_proto(alone.model).SerializeToString() == ir.to_proto(beside.model).SerializeToString()
    assert beside.warnings == ()


def test_half_precision_is_rounded_for_the_pictures_given(make: Make, tmp_path: Path) -> None:
    for number in range(8):
        images.write_rgb(tmp_path / f"{number}.png", np.ascontiguousarray(target(number)[::-1]))
    given = make("fp16", pictures(tmp_path, "fp16"))
    assert ir.to_proto(given.model).SerializeToString() != ir.to_proto(make("fp16").model).SerializeToString()


def test_integers_come_with_what_they_were_calibrated_on(make: Make, plain: ir.Model) -> None:
    before = ir.to_proto(plain).SerializeToString()
    made = make("int8", pictures(None, "int8"))
    assert "drawn faces" in made.warnings[0]
    assert made.macs >= make("fp32").macs
    assert ir.to_proto(plain).SerializeToString() == before


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_what_a_calibration_folder_passed_over_is_recorded(
    demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path, precision: str
) -> None:
    """In the manifest, beside whatever else there is to say of the pictures."""
    faces = tmp_path / "crops"
    faces.mkdir()
    for number in range(12):
        images.write_rgb(faces / f"{number}.png", target(number))
    (faces / "boxes.csv").write_text("x,y")
    (faces / "._0.png").write_bytes(b"litter")
    (faces / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    mfs_edge.compile(
        checkpoint=demo_iin,
        identity=demo_identities[0],
        precision=precision,
        calibration=faces,
        size=32,
        out=tmp_path / "out",
        verify=False,
    )
    (artefact,) = manifest.read(tmp_path / "out" / bundle.MANIFEST).artefacts
    said = "passed over in crops: 1 that is no picture (boxes.csv); 1 of a system's own"
    assert any(line.startswith(said) for line in artefact.warnings)
    assert any(line.startswith("skipped 1 of 13 calibration pictures: ") for line in artefact.warnings)


def test_another_precision_is_refused(make: Make) -> None:
    with pytest.raises(UsageError, match="fp8"):
        make("fp8")
    with pytest.raises(UsageError, match="pictures"):
        make("int8")
