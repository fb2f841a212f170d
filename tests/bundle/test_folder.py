"""Output folders: what is refused, what survives, what is cleaned up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mfs_edge import bundle
from mfs_edge.base import files
from mfs_edge.base.errors import InputError, OutputError
from mfs_edge.bundle.manifest import ArtefactRecord, Manifest, Source, Verification, read


def artefact(stage: Path, name: str, content: bytes = b"model") -> ArtefactRecord:
    """A staged file and its record."""
    (stage / name).write_bytes(content)
    return ArtefactRecord(
        file=name,
        files={name: files.sha256(stage / name)},
        bytes=len(content),
        target="onnx",
        precision="fp32",
        io="float32",
        size=224,
        optimize=1,
        checkpoint=Source(name="iin.pdparams", sha256="0" * 64),
        identity_sha256="1" * 64,
        inputs=(),
        outputs=(),
        operators={},
        parameters=1,
        macs=1,
        verification=Verification(status="not verified", verified="no", run="not run: a test"),
    )


def publish(folder: Path, *names: str, content: bytes = b"model") -> Manifest:
    with bundle.staging(folder) as stage:
        made = tuple(artefact(stage, name, content) for name in names)
        return bundle.publish(stage, folder, Manifest(versions={}, artefacts=made))


def test_published_files_are_recorded_and_intact(tmp_path: Path) -> None:
    publish(tmp_path / "out", "a.onnx", "b.onnx")
    manifest = read(tmp_path / "out" / bundle.MANIFEST)
    assert manifest.files() == {"a.onnx", "b.onnx"}
    for entry in manifest.artefacts:
        assert files.sha256(tmp_path / "out" / entry.file) == entry.files[entry.file]


def test_a_folder_artefact_replaces_a_folder(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        with bundle.staging(tmp_path) as stage:
            (stage / "m.mlpackage").mkdir()
            (stage / "m.mlpackage/weight.bin").write_bytes(content)
            record = artefact(stage, "x", b"").model_copy(update={"file": "m.mlpackage", "files": {"m.mlpackage": "0"}})
            bundle.publish(stage, tmp_path, Manifest(versions={}, artefacts=(record,)))
    assert (tmp_path / "m.mlpackage/weight.bin").read_bytes() == b"new"


def test_records_of_files_that_were_deleted_are_dropped(tmp_path: Path) -> None:
    publish(tmp_path, "a.onnx")
    (tmp_path / "a.onnx").unlink()
    assert [a.file for a in publish(tmp_path, "b.onnx").artefacts] == ["b.onnx"]


def test_foreign_files_are_refused_unless_told(tmp_path: Path) -> None:
    publish(tmp_path, "a.onnx")
    bundle.check_folder(tmp_path, overwrite=False)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        bundle.check_folder(tmp_path, overwrite=False)
    bundle.check_folder(tmp_path, overwrite=True)


def test_a_file_with_an_artefacts_name_but_no_manifest_is_foreign(tmp_path: Path) -> None:
    (tmp_path / "idn-224-fp32.onnx").write_bytes(b"somebody's")
    with pytest.raises(OutputError, match="idn-224-fp32"):
        bundle.check_folder(tmp_path, overwrite=False)


def test_an_unreadable_manifest_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / bundle.MANIFEST).write_text("{}")
    with pytest.raises(InputError, match="manifest"):
        bundle.check_folder(tmp_path, overwrite=False)


def test_out_may_not_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="not a folder"):
        bundle.check_folder(tmp_path / "out", overwrite=True)


def test_failure_leaves_no_new_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), bundle.staging(tmp_path / "deep/er"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


LEFTOVERS = (".mfs-edge-staging-4711", ".mfs-edge-probe-0a", ".mfs-edge.lock", ".manifest.json.k3_9x2ab.tmp")


@pytest.mark.parametrize("name", LEFTOVERS)
def test_what_a_killed_run_left_is_swept(tmp_path: Path, name: str) -> None:
    publish(tmp_path, "a.onnx")
    (tmp_path / name).mkdir() if "staging" in name else (tmp_path / name).touch()
    bundle.check_folder(tmp_path, overwrite=False)
    publish(tmp_path, "b.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "b.onnx", bundle.MANIFEST]


@pytest.mark.parametrize(
    "name", [".manifest.json.tmp", "manifest.json.k3_9x2ab.tmp", ".mfs-edge.toml", ".notes.0123abcd.tmp"]
)
def test_what_is_named_alike_is_not(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="did not write"):
        bundle.check_folder(tmp_path, overwrite=False)
    publish(tmp_path, "a.onnx")
    assert (tmp_path / name).read_text() == "mine"


def test_a_publication_that_was_cut_off_is_finished_even_if_its_files_are_gone(tmp_path: Path) -> None:
    publish(tmp_path, "a.onnx")
    manifest = read(tmp_path / bundle.MANIFEST)
    entry = manifest.artefacts[0].model_copy(
        update={"file": ".mfs-edge-staging-1/a.onnx", "files": {".mfs-edge-staging-1/a.onnx": "0" * 64}}
    )
    (tmp_path / bundle.MANIFEST).write_text(manifest.model_copy(update={"artefacts": (entry,)}).dumps())
    bundle.check_folder(tmp_path, overwrite=False)
    publish(tmp_path, "b.onnx")
    assert [a.file for a in read(tmp_path / bundle.MANIFEST).artefacts] == ["b.onnx"]


def test_the_manifest_rejects_unknown_keys(tmp_path: Path) -> None:
    publish(tmp_path, "a.onnx")
    path = tmp_path / bundle.MANIFEST
    path.write_text(path.read_text().replace('"versions"', '"surprise": 1, "versions"'))
    with pytest.raises(InputError, match="surprise"):
        read(path)


def test_out_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file/sub", tmp_path / "file/deep/er"):
        with pytest.raises(OutputError, match=r"/file is a file, not a folder"):
            bundle.check_folder(out, overwrite=True)


def test_out_through_a_link_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for out in (tmp_path / "link", tmp_path / "link/sub", tmp_path / "loop"):
        with pytest.raises(OutputError, match=r"is a symbolic link to \w+, which does not exist|cannot be used"):
            bundle.check_folder(out, overwrite=True)


@pytest.mark.parametrize("name", ["x" * 300, "x\0y", "x/" + "y" * 300])
def test_out_of_an_impossible_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="choose another --out"):
        bundle.check_folder(tmp_path / name, overwrite=False)


@pytest.mark.parametrize("name", ["new/deep", "link/new", "with space", "ünï"])
def test_legitimate_places(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    bundle.check_folder(tmp_path / name, overwrite=False)
    publish(tmp_path / name, "a.onnx")
    assert (tmp_path / name / "a.onnx").exists()


def of_length(start: Path, length: int) -> Path:
    """A path below ``start`` of so many bytes, each of whose names is short enough."""
    while len(str(start)) + 102 < length:
        start /= "y" * 100
    return start / ("z" * (length - len(str(start)) - 1))


LONGEST_PATH = os.pathconf("/", "PC_PATH_MAX")


@pytest.mark.parametrize("beyond", [-100, -60, -40, -36, -30, -10, -1, 0, 100])
def test_a_path_too_long_is_refused_and_leaves_nothing(tmp_path: Path, beyond: int) -> None:
    folder = of_length(tmp_path / "A", LONGEST_PATH + beyond)
    with pytest.raises(OutputError, match="too long"):
        bundle.check_folder(folder, overwrite=False)
    with pytest.raises(OutputError, match="too long"), bundle.staging(folder) as stage:  # whoever did not ask before
        (stage / ("n" * 100)).touch()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 300, "é" * 128, "x" * 256])
def test_a_name_too_long_leaves_nothing(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path / "A" / name, tmp_path / "A" / name / "b"):
        with pytest.raises(OutputError, match=r"choose another"):
            bundle.check_folder(folder, overwrite=False)
        with pytest.raises(OutputError, match="too long"), bundle.staging(folder):
            pass
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [255, 200, -200])
def test_long_paths_that_fit_are_used(tmp_path: Path, length: int) -> None:
    folder = tmp_path / ("x" * length) if length > 0 else of_length(tmp_path / "A", LONGEST_PATH + length)
    bundle.check_folder(folder, overwrite=False)
    publish(folder, "a.onnx")
    assert sorted(p.name for p in folder.iterdir()) == ["a.onnx", bundle.MANIFEST]


def test_a_file_system_with_shorter_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as eCryptfs with 143 bytes, which no test machine has mounted."""
    monkeypatch.setattr(os, "pathconf", lambda path, which: {"PC_NAME_MAX": 143, "PC_PATH_MAX": 4096}[which])
    with pytest.raises(OutputError, match="a name may have 143 bytes"):
        bundle.check_folder(tmp_path / "A" / ("x" * 144), overwrite=False)
    bundle.check_folder(tmp_path / "A" / ("x" * 143), overwrite=False)
