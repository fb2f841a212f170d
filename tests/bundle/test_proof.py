"""A claim of proof is for the very bytes that were proven, every part's; never for what was put in their place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mfs_edge import bundle, target
from mfs_edge.about import inspection
from mfs_edge.base import files
from mfs_edge.base.errors import InputError
from mfs_edge.bundle import proof
from mfs_edge.bundle.manifest import read
from mfs_edge.measure import facts
from tests.bundle import made

PACKAGE = "idn.mlpackage/Data/com.apple.CoreML"
OPENS = {
    "onnx": "idn.onnx",
    "tflite": "idn.tflite",
    "openvino": "idn.xml",
    "coreml": "idn.mlpackage",
    "external": "idn-external.onnx",
}
Change = Callable[[Path, Path], None]  # of the first of two folders, that of person a; the second is b's


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    for whose in "ab":
        made.publish(root / whose, whose)
    return root


@pytest.fixture
def folders(published: Path, tmp_path: Path) -> tuple[Path, Path]:
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    return tmp_path / "a", tmp_path / "b"


def swapped(name: str) -> Change:
    """The other person's file in place of this one's."""

    def change(ours: Path, theirs: Path) -> None:
        shutil.copy(theirs / name, ours / name)

    return change


def edited(name: str, edit: Callable[[bytes], bytes]) -> Change:
    def change(ours: Path, _: Path) -> None:
        (ours / name).write_bytes(edit((ours / name).read_bytes()))

    return change


def in_manifest(edit: Callable[[dict], object], opens: str) -> Change:
    """The manifest, changed where it speaks of the artefact."""

    def change(ours: Path, _: Path) -> None:
        content = json.loads((ours / bundle.MANIFEST).read_text())
        edit(next(entry for entry in content["artefacts"] if entry["file"] == opens))
        (ours / bundle.MANIFEST).write_text(json.dumps(content))

    return change


def renamed(old: str, new: str) -> Change:
    return lambda ours, _: (ours / old).replace(ours / new) and None


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def stray(name: str) -> Change:
    return lambda ours, _: (ours / name).write_bytes(b"more") and None


def gone(name: str) -> Change:
    return lambda ours, _: (ours / name).unlink()


def linked(name: str) -> Change:
    """The other person's file by a symbolic link."""

    def change(ours: Path, theirs: Path) -> None:
        (ours / name).unlink()
        (ours / name).symlink_to(os.path.relpath(theirs / name, (ours / name).parent))

    return change


NEAR_MISSES: list[tuple[str, Change]] = [
    *((form, swapped(bundle.MANIFEST)) for form in OPENS),
    ("onnx", swapped("idn.onnx")),
    ("tflite", swapped("idn.tflite")),
    ("openvino", swapped("idn.bin")),
    ("openvino", swapped("idn.xml")),
    ("coreml", swapped(f"{PACKAGE}/weights/weight.bin")),
    ("coreml", swapped(f"{PACKAGE}/model.mlmodel")),
    ("coreml", swapped("idn.mlpackage/Manifest.json")),
    ("external", swapped("idn.onnx.data")),
    ("external", swapped("idn-external.onnx")),
    ("openvino", edited("idn.bin", flipped)),
    ("external", edited("idn.onnx.data", flipped)),
    ("coreml", edited(f"{PACKAGE}/weights/weight.bin", lambda content: content[:-1])),
    ("openvino", edited("idn.bin", lambda content: content + b"\0")),
    ("openvino", gone("idn.bin")),
    ("external", gone("idn.onnx.data")),
    ("coreml", gone(f"{PACKAGE}/weights/weight.bin")),
    ("coreml", stray(f"{PACKAGE}/weights/more.bin")),
    ("onnx", renamed("idn-external.onnx", "idn.onnx")),
    ("tflite", renamed("idn.onnx", "idn.tflite")),
    ("openvino", renamed("idn-external.onnx", "idn.bin")),
    ("openvino", in_manifest(lambda entry: entry["files"].pop("idn.bin"), "idn.xml")),
    ("external", in_manifest(lambda entry: entry["files"].pop("idn.onnx.data"), "idn-external.onnx")),
    ("onnx", in_manifest(lambda entry: entry["files"].clear(), "idn.onnx")),
    ("openvino", in_manifest(lambda entry: entry.update(target="onnx"), "idn.xml")),
    ("tflite", in_manifest(lambda entry: entry.update(file="idn-other.tflite"), "idn.tflite")),
    ("coreml", linked(f"{PACKAGE}/weights/weight.bin")),
    ("openvino", linked("idn.bin")),
    ("external", linked("idn.onnx.data")),
]


@pytest.mark.parametrize("form", OPENS)
def test_what_was_published_is_proven(folders: tuple[Path, Path], form: str, tmp_path: Path) -> None:
    shutil.copytree(folders[0], tmp_path / "copy")
    (tmp_path / "link").symlink_to(folders[0])
    for folder in (folders[0], tmp_path / "copy", tmp_path / "link"):
        found = proof.of(folder / OPENS[form])
        assert found.record is not None
        assert found.record.identity_sha256 == "a"
        assert found.told == "passed"


@pytest.mark.parametrize(("form", "change"), NEAR_MISSES)
def test_a_near_miss_proves_nothing(folders: tuple[Path, Path], form: str, change: Change) -> None:
    change(*folders)
    found = proof.of(folders[0] / OPENS[form])
    assert found.record is None
    assert found.told.startswith("nothing is proven")
    assert "\n" not in found.told


@pytest.mark.parametrize("name", ["idn.bin", "idn.xml"])
def test_inspect_and_bench_tell_what_differs(folders: tuple[Path, Path], name: str) -> None:
    swapped(name)(*folders)
    assert name in proof.of(folders[0] / "idn.xml").doubt
    rows = {row["file"]: row for row in inspection.inspect(folders[0]).tables["artefacts"]}
    assert (rows["idn.xml"]["verification"], rows["idn.xml"]["intact"]) == ("nothing is proven", False)
    assert (rows["idn.onnx"]["verification"], rows["idn.onnx"]["intact"]) == ("passed", True)


def test_the_hash_of_an_artefact_is_of_all_its_parts(folders: tuple[Path, Path]) -> None:
    path = folders[0] / "idn.xml"
    before = target.artefact(path).sha256
    assert before != files.sha256(path)
    swapped("idn.bin")(*folders)
    assert target.artefact(path).sha256 != before
    assert target.artefact(folders[0] / "idn.tflite").sha256 == files.sha256(folders[0] / "idn.tflite")


def test_somebody_elses_manifest_is_in_nobodys_way(artefacts: Path, tmp_path: Path) -> None:
    """Browsers' extensions and web apps have a manifest.json, too."""
    shutil.copy(artefacts / "idn.onnx", tmp_path)
    for content in ("{}", '{"name": "my web app", "icons": []}', "not JSON", ""):
        (tmp_path / bundle.MANIFEST).write_text(content)
        found = facts.examine(tmp_path / "idn.onnx")
        assert found.facts.verification is None
        assert "nothing is proven" in found.proof.doubt


OUTSIDE = (
    "../secret/x.onnx",
    "/etc/passwd",
    "a/../../x.onnx",
    "..\\secret\\x.onnx",
    "C:\\x.onnx",
    "C:x.onnx",
    "",
    "x\0",
)


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("where", ["file", "files"])
def test_a_manifest_stays_in_its_folder(folders: tuple[Path, Path], name: str, where: str) -> None:
    """Not measured, hashed nor sent."""
    edit = (lambda e: e.update(file=name)) if where == "file" else (lambda e: e["files"].update({name: "0" * 64}))
    in_manifest(edit, "idn.onnx")(*folders)
    for look in (read, lambda path: facts.artefacts((path.parent,)), lambda path: inspection.inspect(path.parent)):
        with pytest.raises(InputError, match="not inside"):
            look(folders[0] / bundle.MANIFEST)


@pytest.mark.parametrize("name", ["x..onnx", "..x.onnx", "a/b/x.onnx", "x y;$(z).onnx", "ünï.onnx"])
def test_odd_names_inside_are_no_offence(folders: tuple[Path, Path], name: str) -> None:
    path = folders[0] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((folders[0] / "idn.onnx").read_bytes())
    in_manifest(lambda e: e.update(file=name, files={name: e["files"]["idn.onnx"]}), "idn.onnx")(*folders)
    assert inspection.inspect(folders[0]).tables["artefacts"][2]["file"]
    assert all(row["intact"] for row in inspection.inspect(folders[0]).tables["artefacts"])


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_links_out_of_a_build_folder_are_not_followed(folders: tuple[Path, Path], form: str) -> None:
    linked(OPENS[form])(*folders)
    with pytest.raises(InputError, match="symbolic link"):
        facts.artefacts((folders[0],))
    with pytest.raises(InputError, match="symbolic link"):
        inspection.inspect(folders[0])


def test_a_run_that_was_cut_off_is_measured_and_inspected_where_it_is(tmp_path: Path) -> None:
    """As a kill after the commit leaves it."""
    with bundle.staging(tmp_path) as stage:
        pass
    made.publish(tmp_path, "a", "onnx")
    stage.mkdir()
    content = (tmp_path / bundle.MANIFEST).read_text().replace('"idn.onnx"', f'"{stage.name}/idn.onnx"')
    shutil.copy(tmp_path / "idn.onnx", stage)
    (tmp_path / bundle.MANIFEST).write_text(content)
    (path,) = facts.artefacts((tmp_path,))
    assert path == stage / "idn.onnx"
    assert proof.of(path).told == "passed"
    assert "does not name" in proof.of(tmp_path / "idn.onnx").doubt
    assert inspection.inspect(tmp_path).tables["artefacts"][0]["intact"]
