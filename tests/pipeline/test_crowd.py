"""Bases over many identities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mfs_edge
from mfs_edge.base.errors import IdentityError, UsageError
from mfs_edge.base.progress import Recorded
from mfs_edge.load import folder
from mfs_edge.load import identity as identities
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.pipeline import crowd


@pytest.fixture
def people(demo_identities: list[Identity], tmp_path: Path) -> Path:
    """A folder of three, one of them twice, with what lies about in such folders."""
    for name, number in (("anna", 1), ("bert", 0), ("cleo", 2), ("anna-again", 1)):
        identities.save(demo_identities[number], tmp_path / f"{name}.npy")
    (tmp_path / "anna.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("consent: 2026")
    return tmp_path


def test_everyone_counts_once_by_name(people: Path, demo_identities: list[Identity]) -> None:
    steps = Recorded()
    found = crowd.gathered(None, people, None, steps)
    assert [one.sha256 for one in found] == [demo_identities[i].sha256 for i in (1, 0, 2)]
    assert any("passed over" in note and "notes.txt" in note and "anna.json" not in note for note in steps.notes)
    assert any("1 of 4 identities" in note for note in steps.notes)
    assert any("3 identities" in note for note in steps.notes)


def test_one_is_one(demo_identities: list[Identity]) -> None:
    assert crowd.gathered(demo_identities[0], None, None, Recorded()) == [demo_identities[0]]


def test_drawn_faces_are_told_of() -> None:
    steps = Recorded()
    assert len(crowd.gathered(None, crowd.DRAWN, None, steps)) == crowd.FACES
    assert crowd.WARNING in steps.notes


def test_neither_or_both_is_no_way_to_say_who(people: Path) -> None:
    for one, many in ((None, None), ("id.npy", people)):
        with pytest.raises(UsageError, match="either --identity"):
            mfs_edge.compile(identity=one, identities=many, out=people / "out")
    with pytest.raises(UsageError, match="--optimize 1"):
        mfs_edge.compile(identities=people, optimize=0, out=people / "out")
    assert not (people / "out").exists()


def test_a_folder_without_identities_is_refused(tmp_path: Path) -> None:
    (tmp_path / "id.json").write_text("{}")
    for wrong in (tmp_path, tmp_path / "missing", tmp_path / "id.json"):
        with pytest.raises(IdentityError, match=str(wrong)):
            folder.identities(wrong)


def test_an_identity_that_cannot_be_read_is_named(people: Path) -> None:
    np.save(people / "dora.npy", np.zeros(512, np.float32))
    with pytest.raises(IdentityError, match=r"dora\.npy"):
        mfs_edge.compile(identities=people, size=32, out=people / "out")
    assert not (people / "out").exists()


def test_the_manifest_says_over_how_many(people: Path, demo_iin: Checkpoint, demo_identities: list[Identity]) -> None:
    result = mfs_edge.compile(identities=people, checkpoint=demo_iin, size=32, out=people / "out")
    (artefact,) = result.manifest.artefacts
    assert result.passed
    assert artefact.identities == 3
    assert artefact.identity_sha256 == demo_identities[1].sha256
    assert len(artefact.runs) >= 11
