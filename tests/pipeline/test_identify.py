"""``identity``: what is written, what is shown, and that nothing given is lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mfs_edge.about.inspection import inspect
from mfs_edge.base import files, images
from mfs_edge.base.errors import IdentityError, OutputError, UsageError
from mfs_edge.base.progress import Recorded
from mfs_edge.cli.main import cli
from mfs_edge.face.models import Models
from mfs_edge.load.checkpoint import save_safetensors
from mfs_edge.pipeline.identify import Identified, identify
from mfs_edge.sample import FACES, weights
from tests.face import scenes


@pytest.fixture(scope="module")
def arcface(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arcface") / "arcface.safetensors"
    save_safetensors(weights.checkpoint("arcface"), path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> tuple[Path, Path]:
    """A photo and its landmarks' file."""
    scene = scenes.drawn(3, face=200, roll=12)
    images.write_rgb(tmp_path / "photo.png", scene.image)
    (tmp_path / "points.json").write_text(json.dumps({"kps": scene.landmarks.tolist()}))
    return tmp_path / "photo.png", tmp_path / "points.json"


def identified(photo: Path, arcface: Path, out: Path, landmarks: Path | None = None, **options: bool) -> Identified:
    options = {"overwrite": False, **options}
    return identify(photo, arcface=arcface, landmarks=landmarks, out=out, steps=Recorded(), **options)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_crop_and_the_record_lie_beside_it(photo: tuple[Path, Path], arcface: Path, tmp_path: Path) -> None:
    out = tmp_path / "id.npy"
    found = identified(photo[0], arcface, out, photo[1])
    assert names(tmp_path) == {"photo.png", "points.json", "id.npy", "id.json", "id.crop.png"}
    raw = np.load(out, allow_pickle=False)
    assert (raw.dtype, raw.shape) == (np.float32, (25600,))
    scene = scenes.drawn(3, face=200, roll=12)
    np.testing.assert_array_equal(images.read_rgb(tmp_path / "id.crop.png"), scene.crop)
    assert found.record.eye_distance == pytest.approx(np.hypot(*(scene.landmarks[1] - scene.landmarks[0])), abs=0.01)
    facts = inspect(out).facts
    assert facts["picture sha256"] == files.sha256(photo[0])
    assert facts["arcface sha256"] == files.sha256(arcface)
    assert len(facts["landmarks"].split(";")) == 5
    assert "px between the eyes, worst residual" in facts["fit"]
    record = (tmp_path / "id.json").read_text()
    assert not any(f"{value:.4f}"[:6] in record for value in raw[:512] if abs(value) > 0.01)


def test_without_a_preview(photo: tuple[Path, Path], arcface: Path, tmp_path: Path) -> None:
    found = identified(photo[0], arcface, tmp_path / "id.npy", photo[1], preview=False)
    assert found.preview is None
    assert names(tmp_path) == {"photo.png", "points.json", "id.npy", "id.json"}
    assert inspect(tmp_path / "id.npy").facts["preview"] == "none"


def test_an_aligned_crop_has_no_landmarks(arcface: Path, tmp_path: Path) -> None:
    identified(FACES / "identity_0.png", arcface, tmp_path / "id.npy")
    facts = inspect(tmp_path / "id.npy").facts
    assert facts["landmarks"] == "none: it was an aligned crop"
    crop = images.read_rgb(FACES / "identity_0.png")
    np.testing.assert_array_equal(images.read_rgb(tmp_path / "id.crop.png"), crop)


def test_nothing_is_replaced_unasked(photo: tuple[Path, Path], arcface: Path, tmp_path: Path) -> None:
    for name in ("id.npy", "id.json", "id.crop.png"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(OutputError, match=f"{name}: exists"):
            identified(photo[0], arcface, tmp_path / "id.npy", photo[1])
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    (tmp_path / "id.crop.png").write_text("mine")
    identified(photo[0], arcface, tmp_path / "id.npy", photo[1], preview=False)
    identified(photo[0], arcface, tmp_path / "id.npy", photo[1], overwrite=True)
    assert images.kind(tmp_path / "id.crop.png") == "PNG"


@pytest.mark.parametrize("name", ["id.crop.png", "id.json", "id.npy"])
def test_what_it_reads_is_never_replaced(photo: tuple[Path, Path], arcface: Path, tmp_path: Path, name: str) -> None:
    given = list(photo)
    place = 1 if name == "id.json" else 0
    given[place] = photo[place].rename(tmp_path / name)
    before = given[place].read_bytes()
    with pytest.raises(UsageError, match="is what the identity is read from"):
        identified(given[0], arcface, tmp_path / "id.npy", given[1], overwrite=True)
    assert given[place].read_bytes() == before


def test_a_refusal_leaves_nothing(photo: tuple[Path, Path], arcface: Path, tmp_path: Path) -> None:
    (tmp_path / "points.json").write_text(json.dumps((scenes.drawn(3, face=200, roll=12).landmarks / 2).tolist()))
    with pytest.raises(IdentityError, match=r"photo\.png: the landmarks do not lie on a face"):
        identified(photo[0], arcface, tmp_path / "id.npy", photo[1])
    assert names(tmp_path) == {"photo.png", "points.json"}


def test_the_command_tells_what_it_understood(photo: tuple[Path, Path], arcface: Path, tmp_path: Path) -> None:
    command = ["identity", str(photo[0]), "--landmarks", str(photo[1]), "--arcface", str(arcface), "-o"]
    said = CliRunner().invoke(cli, [*command, str(tmp_path / "a.npy")], catch_exceptions=False)
    assert said.exit_code == 0
    assert "px between the eyes" in said.output
    assert "worst residual" in said.output
    assert str(tmp_path / "a.crop.png") in said.output
    told = CliRunner().invoke(
        cli, [*command, str(tmp_path / "b.npy"), "--json", "--no-preview"], catch_exceptions=False
    )
    found = json.loads(told.stdout)
    assert found["preview"] is None
    assert found["picture_sha256"] == files.sha256(photo[0])
    assert len(found["landmarks"]) == 5


AUTO = Path("auto")


def test_the_face_of_a_photo_is_found(photo: tuple[Path, Path], arcface: Path, face_models: Models) -> None:
    """The crop is that of its landmarks, but for what a detector is off."""
    out = photo[0].with_name("found.npy")
    folder = face_models.detector.parent
    found = identify(
        photo[0], arcface=arcface, landmarks=AUTO, out=out, overwrite=False, steps=Recorded(), face_models=folder
    )
    scene = scenes.drawn(3, face=200, roll=12)
    off = np.hypot(*(np.array(found.record.landmarks) - scene.landmarks).T)
    assert off.max() < 0.12 * found.record.eye_distance
    assert found.record.likeness > 0.5


def test_the_one_that_is_meant_must_be_clear(
    arcface: Path, face_models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MFS_EDGE_FACE_MODELS", str(face_models.detector.parent))
    face = scenes.portrait().image
    images.write_rgb(tmp_path / "two.png", np.hstack([face, face[:, ::-1]]))
    images.write_rgb(tmp_path / "none.png", np.full((300, 400, 3), 90, np.uint8))
    with pytest.raises(IdentityError, match=r"two\.png: 2 faces were found \(at .*cut out the one"):
        identified(tmp_path / "two.png", arcface, tmp_path / "id.npy", AUTO)
    with pytest.raises(IdentityError, match=r"none\.png: no face was found; give its five points"):
        identified(tmp_path / "none.png", arcface, tmp_path / "id.npy", AUTO)
    with pytest.raises(UsageError, match="of use with --landmarks auto only"):
        identify(
            *(tmp_path / "two.png",), arcface=arcface, landmarks=None, out=tmp_path / "id.npy", overwrite=False,
            steps=Recorded(), face_models=tmp_path,
        )  # fmt: skip
    AUTO.write_text("1 2")
    with pytest.raises(UsageError, match="auto: is also a file here"):
        identified(tmp_path / "two.png", arcface, tmp_path / "id.npy", AUTO)
    assert names(tmp_path) == {"two.png", "none.png", "auto"}


def test_models_that_were_never_fetched(
    arcface: Path, photo: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MFS_EDGE_FACE_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    result = CliRunner().invoke(
        cli,
        ["identity", str(photo[0]), "--arcface", str(arcface), "--landmarks", "auto", "-o", str(tmp_path / "a.npy")],
    )
    assert result.exit_code == 3
    assert "mfs-edge face-models" in result.output
