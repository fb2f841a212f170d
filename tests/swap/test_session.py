"""An artefact is opened if it is what it says, and takes the identities of its packs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mfs_edge
from mfs_edge.base import files
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.face.found import Face
from mfs_edge.load.identity import Identity
from mfs_edge.pack import container
from mfs_edge.swap import session as sessions
from mfs_edge.swap.frame import Chosen, FaceSwap
from mfs_edge.swap.session import Session, find
from tests.swap.conftest import SIZE, Built, room


def swapped(session: Session, person: int = 0) -> np.ndarray:
    frame = room().image.copy()
    FaceSwap(session).frame(frame, [Chosen(Face(room().landmarks), person)])
    return frame


def copied(built: Built, to: Path) -> Path:
    shutil.copytree(built.folder, to)
    return to


@pytest.mark.parametrize("suffix", ["onnx", "tflite", "xml"])
def test_a_pack_is_the_artefact_that_pack_apply_writes(built: Built, suffix: str, tmp_path: Path) -> None:
    pack = built.packs[suffix][1]
    written = mfs_edge.pack.apply(built.path(suffix), pack, tmp_path / f"ben.{suffix}")
    opened = Session(built.path(suffix), [pack], threads=1)
    assert (swapped(opened) == swapped(Session(written.path, threads=1))).all()
    assert (swapped(opened) != swapped(Session(built.path(suffix), threads=1))).any()
    (person,) = opened.people
    assert person.identity_sha256 == container.read(pack).identity_sha256


@pytest.mark.parametrize("cheap", [True, False], ids=["one engine", "an engine each"])
def test_several_people_in_any_order(built: Built, cheap: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "_cheap", lambda self, crops: cheap)
    packs = built.packs["tflite"]
    alone = [swapped(Session(built.path("tflite"), [pack], threads=1)) for pack in packs]
    both = Session(built.path("tflite"), packs, threads=1)
    for person in (0, 1, 1, 0, 1):
        assert (swapped(both, person) == alone[person]).all()
    identities = [container.read(pack).identity_sha256 for pack in packs]
    assert list(both.made(people=(1, 0)).identity_sha256s) == identities
    assert list(both.made(people=[1]).identity_sha256s) == identities[1:]


def test_an_engine_that_cannot_switch_reads_a_file_that_is_gone_afterwards(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mfs_edge.targets.onnx import engine

    switched = [swapped(Session(built.path("onnx"), [pack], threads=1)) for pack in built.packs["onnx"]]
    monkeypatch.delattr(engine.Engine, "switch")
    opened = Session(built.path("onnx"), built.packs["onnx"], threads=1)
    for person in (1, 0):
        assert (swapped(opened, person) == switched[person]).all()
    assert opened._room is not None
    folder = Path(opened._room.name)
    assert folder.exists()
    del opened
    assert not folder.exists()


def test_what_an_output_says_of_itself(built: Built) -> None:
    made = Session(built.path("onnx")).made(faces=2, frames=7, notes=["so"])
    recorded = json.loads((built.folder / "manifest.json").read_text())["artefacts"]
    (record,) = [one for one in recorded if one["target"] == "onnx"]
    assert made.artefact_sha256 == files.sha256(built.path("onnx"))
    assert made.identity_sha256s == (record["identity_sha256"],)
    assert made.checkpoint_sha256 == record["checkpoint"]["sha256"]
    assert (made.precision, made.target, made.faces, made.frames) == ("fp32", "onnx", 2, 7)
    assert any("drawn faces" in line for line in made.warnings)
    assert made.warnings[-1] == "so"


def test_without_a_manifest_the_file_speaks_for_itself(built: Built, tmp_path: Path) -> None:
    alone = tmp_path / "alone.onnx"
    shutil.copy(built.path("onnx"), alone)
    opened = Session(alone)
    assert opened.made() == replace(Session(built.path("onnx")).made(), artefact=alone, warnings=opened.warnings)
    assert any("drawn faces" in line for line in opened.warnings)


def test_other_bytes_than_the_manifest_records_are_refused(built: Built, tmp_path: Path) -> None:
    folder = copied(built, tmp_path / "build")
    path = folder / built.path("onnx").name
    mfs_edge.pack.apply(built.path("onnx"), built.packs["onnx"][0], path, overwrite=True)
    with pytest.raises(InputError, match=r"not what the manifest\.json beside it records"):
        Session(path)


def test_a_file_that_the_manifest_does_not_name_is_told(built: Built, tmp_path: Path) -> None:
    folder = copied(built, tmp_path / "build")
    shutil.copy(built.path("onnx"), folder / "other.onnx")
    opened = Session(folder / "other.onnx")
    assert any("does not name other.onnx" in line for line in opened.warnings)


def test_what_reads_identities_swaps_nothing(built: Built, tmp_path: Path) -> None:
    folder = copied(built, tmp_path / "build")
    manifest = json.loads((folder / "manifest.json").read_text())
    for record in manifest["artefacts"]:
        record["task"] = "enrol"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="reads identities"):
        Session(folder / built.path("onnx").name)
    with pytest.raises(InputError, match="no artefact that swaps"):
        find(folder)


def test_the_pack_of_another_artefact_is_refused(built: Built) -> None:
    with pytest.raises(InputError, match="not the base"):
        Session(built.path("onnx"), built.packs["tflite"][:1])


def test_a_sealed_pack_is_opened_with_its_key(built: Built, tmp_path: Path) -> None:
    import pyrage

    from mfs_edge.pack import sealed

    secret = pyrage.x25519.Identity.generate()
    pack, key = tmp_path / "anna.pack", tmp_path / "key.txt"
    plain = built.packs["onnx"][0]
    pack.write_bytes(sealed.seal(plain.read_bytes(), sealed.recipients([str(secret.to_public())])))
    key.write_text(str(secret))
    with pytest.raises(InputError, match="--key"):
        Session(built.path("onnx"), [pack])
    opened = Session(built.path("onnx"), [pack], key=key, threads=1)
    assert (swapped(opened) == swapped(Session(built.path("onnx"), [plain], threads=1))).all()


def test_a_folder_with_several_lists_them_and_a_pack_tells_which(built: Built, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"holds 3 artefacts \(idn-{SIZE}-fp32\.onnx, .*--artefact FILE"):
        find(built.folder)
    assert find(built.folder, built.packs["tflite"]) == built.path("tflite")
    alone = copied(built, tmp_path / "build")
    for suffix in ("tflite", "xml", "bin"):
        (alone / built.path(suffix).name).unlink()
    assert find(alone) == alone / built.path("onnx").name
    assert find(built.path("onnx")) == built.path("onnx")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing.onnx", "no such file"),
        ("nothing", "no such file or folder"),
        ("a.txt", "is no artefact"),
        ("empty", "no artefact that"),
    ],
)
def test_what_is_no_artefact_is_one_line(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=words):
        find(tmp_path / name)


def test_a_damaged_artefact_and_no_threads(built: Built, tmp_path: Path, demo_identities: list[Identity]) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(built.path("onnx").read_bytes()[:5000])
    with pytest.raises(InputError, match=r"a\.onnx"):
        Session(path)
    with pytest.raises(UsageError, match="--threads 0"):
        Session(built.path("onnx"), threads=0)
    assert sessions.Person("a", "b").pack is None
