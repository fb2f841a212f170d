"""One type for a file, several files and a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfs_edge.base import files
from mfs_edge.base.artefact import Artefact


def write(folder: Path, form: str, content: bytes = b"12") -> Artefact:
    """An artefact called ``a``, of five bytes with the default content."""
    folder.mkdir(exist_ok=True)
    if form == "folder":
        (folder / "a.mlpackage/Data").mkdir(parents=True)
        (folder / "a.mlpackage/Data/weights").write_bytes(content)
        (folder / "a.mlpackage/Manifest").write_bytes(b"345")
        return Artefact(folder / "a.mlpackage")
    (folder / "a.xml").write_bytes(content + b"345" * (form == "file"))
    if form == "file":
        return Artefact(folder / "a.xml")
    (folder / "a.bin").write_bytes(b"345")
    return Artefact.at(folder / "a.xml", (".bin", ".data"))


@pytest.fixture(params=["file", "files", "folder"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_size_members_and_hashes(tmp_path: Path, form: str) -> None:
    made = write(tmp_path, form)
    assert made.size == 5
    assert len(made.members) == (1 if form == "file" else 2)
    assert made.sha256s == {part.name: files.sha256(part) for part in made.parts}
    assert set(made.sha256s) == set(names(tmp_path))


def test_what_a_folder_holds_is_the_artefact(tmp_path: Path, form: str) -> None:
    made = write(tmp_path / "in", form)
    assert Artefact.alone_in(tmp_path / "in", made.path.name) == made


@pytest.mark.parametrize("before", ["nothing", "the same", "another kind"])
def test_a_move_replaces_what_is_there(tmp_path: Path, form: str, before: str) -> None:
    made = write(tmp_path / "from", form, b"new")
    if before == "the same":
        write(tmp_path / "to", form, b"old")
        (tmp_path / "to" / made.path.name / "stray").touch() if form == "folder" else None
    (tmp_path / "to").mkdir(exist_ok=True)
    if before == "another kind":
        there = tmp_path / "to" / made.path.name
        there.touch() if form == "folder" else there.mkdir()
    hashes = made.sha256s
    moved = made.move(tmp_path / "to")
    assert moved.sha256s == hashes
    assert names(tmp_path / "to") == sorted(hashes)
    assert names(tmp_path / "from") == []


def test_a_rename_takes_every_part(tmp_path: Path, form: str) -> None:
    made = write(tmp_path, form)
    there = names(tmp_path)
    renamed = made.rename(lambda name: f"{name}.rejected")
    assert names(tmp_path) == [f"{name}.rejected" for name in there]
    assert renamed.size == 5


def test_a_removal_leaves_nothing(tmp_path: Path, form: str) -> None:
    made = write(tmp_path, form)
    (tmp_path / "other").touch()
    made.remove()
    made.remove()  # what is gone needs no removal
    assert names(tmp_path) == ["other"]


def test_only_companions_that_are_there_belong_to_it(tmp_path: Path) -> None:
    (tmp_path / "a.xml").touch()
    (tmp_path / "b.bin").touch()
    assert Artefact.at(tmp_path / "a.xml", (".bin",)).companions == ()
