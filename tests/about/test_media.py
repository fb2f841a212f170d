"""``inspect`` of pictures and videos: valid or not, trusted or not, and nothing of a stranger's is believed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import c2pa
import pytest

from mfs_edge.about import media
from mfs_edge.about.inspection import inspect
from mfs_edge.base.errors import InputError, MissingDependency, UsageError
from mfs_edge.swap import claims, provenance
from mfs_edge.swap.certificate import SELF_MADE
from mfs_edge.swap.provenance import Signer
from tests.swap import people
from tests.swap.people import MADE, Person


@pytest.fixture(scope="module")
def who(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return people.person(tmp_path_factory.mktemp("who"))


@pytest.fixture
def picture(tmp_path: Path, who: Person) -> Path:
    """Swapped, signed by ``who``."""
    source, path = tmp_path / "in.png", tmp_path / "out.jpg"
    source.write_bytes(people.encoded("png"))
    path.write_bytes(people.encoded("jpg"))
    provenance.say(path, MADE, Signer.of(who.cert, who.key), source=source)
    return path


def test_a_swapped_picture_tells_all_of_it(picture: Path) -> None:
    found = inspect(picture)
    assert found.kind == "picture"
    facts = found.facts
    assert (facts["format"], facts["manifest"]) == ("JPEG, 61x47", "valid, untrusted")
    assert (facts["signed by"], facts["signed with"]) == ("A Studio, Pictures Ltd", "Es256")
    assert facts["source type"] == facts["IPTC source type"] == claims.SOURCE_TYPE
    assert facts["artefact"] == f"idn-224-int8.onnx {'a' * 64}"
    assert facts["identities"] == f"{'b' * 64}; {'d' * 64}"
    assert (facts["checkpoint"], facts["precision"], facts["target"]) == ("c" * 64, "int8", "onnx")
    assert (facts["faces swapped"], facts["made with"]) == ("2", "mfs-edge 0.1, onnxruntime 1.2.3")
    assert facts["written by"].startswith("mfs-edge ")
    assert [row["action"] for row in found.tables["actions"]] == ["c2pa.opened", "c2pa.edited"]
    assert found.tables["ingredients"] == [
        {"made from": "in.png", "relation": "parentOf", "format": "image/png", "its own manifest": "none"}
    ]


@pytest.mark.parametrize("which", ["root", "cert"])
def test_who_is_trusted_is_the_user_s_to_say(
    picture: Path, who: Person, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the authority's certificate, alone or behind the signer's."""
    assert inspect(picture, trust=getattr(who, which)).facts["manifest"] == "valid, trusted"
    monkeypatch.setenv(media.TRUST, str(getattr(who, which)))
    assert inspect(picture).facts["manifest"] == "valid, trusted"


def test_a_signer_s_own_certificate_is_no_authority(picture: Path, who: Person, tmp_path: Path) -> None:
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(who.cert.read_bytes().split(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n")
    with pytest.raises(InputError, match="give that of the authority that issued it"):
        inspect(picture, trust=leaf)


def test_somebody_else_s_authority_vouches_for_nobody(picture: Path, tmp_path: Path) -> None:
    other = people.person(tmp_path / "other")
    assert inspect(picture, trust=other.root).facts["manifest"] == "valid, untrusted"
    assert inspect(picture, trust=other.cert).facts["manifest"] == "valid, untrusted"


def test_a_changed_byte_makes_it_invalid_whoever_is_trusted(picture: Path, who: Person) -> None:
    data = bytearray(picture.read_bytes())
    data[-30] ^= 1
    picture.write_bytes(data)
    for trust in (None, who.root):
        facts = inspect(picture, trust=trust).facts
        assert facts["manifest"] == "invalid"
        assert facts["because"].startswith("the file was changed after it was signed (assertion.dataHash.mismatch)")


def test_a_changed_word_of_the_manifest_makes_it_invalid(picture: Path) -> None:
    picture.write_bytes(picture.read_bytes().replace(b"a" * 64, b"f" * 64))
    assert inspect(picture).facts["manifest"] == "invalid"


def test_a_certificate_made_on_the_spot(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(people.encoded("png"))
    provenance.say(path, MADE, Signer.of(), source=None)
    facts = inspect(path).facts
    assert (facts["manifest"], facts["signed by"]) == ("valid, untrusted", SELF_MADE)
    assert facts["certificate"] == "made on the spot"


def test_what_it_was_made_from_keeps_its_own(picture: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.png"
    second.write_bytes(people.encoded("png"))
    provenance.say(second, MADE, Signer.of(), source=picture)
    (row,) = inspect(second).tables["ingredients"]
    assert row["its own manifest"].startswith("kept")
    data = bytearray(picture.read_bytes())
    data[-30] ^= 1
    picture.write_bytes(data)
    second.write_bytes(people.encoded("png"))
    provenance.say(second, MADE, Signer.of(), source=picture)
    (row,) = inspect(second).tables["ingredients"]
    assert "assertion.dataHash.mismatch" in row["its own manifest"]


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tiff", "gif", "avif"])
def test_a_picture_without_a_manifest_says_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(people.encoded(kind))
    found = inspect(path)
    assert (found.facts["manifest"], found.facts["IPTC source type"], found.tables) == ("none", "none", {})
    assert "proves nothing" in found.facts["which means"]


@pytest.mark.parametrize("kind", ["bmp", "ppm"])
def test_a_picture_that_can_have_none_says_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(people.encoded(kind))
    assert inspect(path).facts["manifest"] == "impossible"


def test_videos(tmp_path: Path, who: Person) -> None:
    mp4, mkv = people.video(tmp_path / "a.mp4"), people.video(tmp_path / "a.mkv")
    assert inspect(mp4).facts["manifest"] == "none"
    for path in (mp4, mkv):
        provenance.say(path, MADE, Signer.of(who.cert, who.key), source=None)
    found = inspect(mp4, trust=who.root)
    assert (found.kind, found.facts["format"], found.facts["manifest"]) == ("video", "MP4", "valid, trusted")
    assert found.facts["IPTC source type"] == claims.SOURCE_TYPE
    facts = inspect(mkv).facts
    assert (facts["manifest"], facts["tag DIGITAL_SOURCE_TYPE"]) == ("impossible", claims.SOURCE_TYPE)


def hostile(path: Path, told: Any) -> Path:
    """Soundly signed by a stranger, who says ``told`` where ours is."""
    builder = c2pa.Builder(json.dumps(claims._manifest(told, edited=False)))
    to = io.BytesIO()
    with claims._signer(c2pa, Signer.of().credential) as native:
        builder.sign(native, "image/png", io.BytesIO(people.encoded("png")), to)
    path.write_bytes(to.getvalue())
    return path


@pytest.mark.parametrize(
    "told",
    [
        {"artefact": 5, "identities": "x", "checkpoint": [1], "versions": [1], "faces": {"a": 1}},
        {"artefact": {"name": {"a": 1}}, "identities": [None, 1, {"sha256": []}], "versions": {"a": {"b": []}}},
        {"identities": [{"sha256": "x" * 900}] * 50, "precision": "\x1b[31m\n\u202e" * 200},
    ],
)
def test_a_stranger_may_say_anything(tmp_path: Path, told: Any) -> None:
    facts = inspect(hostile(tmp_path / "a.png", told)).facts
    assert facts["manifest"] == "valid, untrusted"
    assert all(len(str(value)) < 16 * (media._SHOWN + 5) for value in facts.values())


def test_a_truncated_picture_is_told_as_far_as_it_goes(picture: Path) -> None:
    whole = picture.read_bytes()
    for length in range(4, len(whole), 997):
        picture.write_bytes(whole[:length])
        assert inspect(picture).facts["manifest"] in ("invalid", "unreadable", "none")


def test_trust_is_for_pictures(tmp_path: Path, who: Person, picture: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(UsageError, match="leave --trust out"):
        inspect(tmp_path / "a.txt", trust=who.root)
    with pytest.raises(InputError, match=r"a.txt: holds no readable certificate"):
        inspect(picture, trust=tmp_path / "a.txt")


def test_without_the_extra_it_is_named(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mfs-edge\[swap\]'"):
        inspect(picture)
