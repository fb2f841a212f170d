"""``mfs-edge identity``: what it understood is shown, recorded and tied to what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mfs_edge import sample
from mfs_edge.about import inspection
from mfs_edge.base import files, images
from mfs_edge.base.errors import IdentityError, OutputError
from mfs_edge.base.progress import Recorded
from mfs_edge.face import align, record
from mfs_edge.pipeline.identify import Identified, identify
from mfs_edge.sample import weights

FIVE = np.array([[79.2, 102.3], [143.0, 107.1], [105.3, 141.2], [85.6, 174.3], [123.7, 177.1]])


@pytest.fixture(scope="module")
def arcface(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    path = tmp_path_factory.mktemp("arcface") / "arcface.pth"
    tensors = weights.checkpoint("arcface").tensors
    torch.save({key: torch.from_numpy(np.array(value)) for key, value in tensors.items()}, path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "id.png"  # as it would be called beside id.npy and id.json
    images.write_rgb(path, sample.target(0))
    return path


def run(photo: Path, arcface: Path, points: object, **more: bool) -> Identified:
    landmarks = photo.with_suffix(".json")
    landmarks.write_text(json.dumps(points))
    out = photo.with_suffix(".npy")
    given = {"overwrite": False, **more}
    return identify(photo, arcface=arcface, landmarks=landmarks, out=out, steps=Recorded(), **given)


def test_the_crop_and_a_record_lie_beside_the_identity(photo: Path, arcface: Path) -> None:
    picture = files.sha256(photo)
    found = run(photo, arcface, {"kps": FIVE.tolist()})
    assert found.preview == photo.with_name("id.npy.png")
    np.testing.assert_array_equal(images.read_rgb(found.preview), align.align(sample.target(0), FIVE, 224))
    held = inspection.inspect(photo.with_suffix(".npy")).facts
    assert held["picture sha256"] == picture == files.sha256(photo)  # the photo itself was not replaced
    assert held["understood"] == "insightface's kps, in pixels"
    assert held["landmarks"] == str([list(point) for point in FIVE.tolist()])
    assert float(held["eye distance"]) == pytest.approx(64.0, abs=0.1)
    assert 0 < float(held["residual"]) < 10


def test_fractions_give_the_same_identity_and_say_so(photo: Path, arcface: Path) -> None:
    pixels = run(photo, arcface, FIVE.tolist()).identity
    fractions = run(photo, arcface, (FIVE / 224).tolist(), overwrite=True)
    np.testing.assert_allclose(fractions.identity.flat, pixels.flat, atol=1e-3)
    assert fractions.source.understood == "five points, in fractions of the picture"


def test_a_refusal_writes_nothing(photo: Path, arcface: Path) -> None:
    with pytest.raises(IdentityError, match="do not lie as those of a face"):
        run(photo, arcface, FIVE[[0, 1, 3, 4, 2]].tolist())
    assert sorted(p.name for p in photo.parent.iterdir()) == ["id.json", "id.png"]


def test_no_preview_and_nothing_overwritten(photo: Path, arcface: Path) -> None:
    assert run(photo, arcface, FIVE.tolist(), preview=False).preview is None
    assert not photo.with_name("id.npy.png").exists()
    with pytest.raises(OutputError, match="exists"):
        run(photo, arcface, FIVE.tolist())


def test_a_record_of_another_identity_is_not_shown(photo: Path, arcface: Path) -> None:
    found = run(photo, arcface, FIVE.tolist())
    path = photo.with_suffix(".npy")
    assert record.of(path, found.identity.sha256) == found.source
    np.save(path, found.identity.flat[::-1].copy())
    assert "picture sha256" not in inspection.inspect(path).facts
    assert set(json.loads(record.place(path).read_text())) == {
        "identity_sha256", "picture_sha256", "understood", "landmarks", "eye_distance", "residual", "preview",
    }  # fmt: skip
