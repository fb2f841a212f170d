"""``inspect`` of a pack: what it is for and what it makes, never what is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfs_edge.about.inspection import inspect
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.pack import container, sealed
from mfs_edge.pack.container import Pack, Part, Patch
from tests.fuzz.readers.sealed import PUBLIC, SECRET

PAYLOAD = bytes(range(100, 140))
FILES = {"idn.xml": Part(900, "a" * 64, "a" * 64), "idn.bin": Part(400, "c" * 64, "d" * 64)}
PATCHES = (Patch("idn.bin", 0, PAYLOAD), Patch("idn.bin", 100, PAYLOAD[:8]))
PACK = Pack("openvino", "int8", 224, "idn.xml", "1" * 64, "2" * 64, FILES, PATCHES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "anna.pack"
    path.write_bytes(container.dumps(PACK))
    return path


def test_what_it_fits_and_what_comes_out(path: Path) -> None:
    found = inspect(path)
    facts = found.facts
    assert (found.kind, facts["fits"], facts["target"]) == ("pack", "idn.xml", "openvino")
    assert (facts["precision"], facts["size"], facts["sealed"]) == ("int8", 224, "no")
    assert (facts["identity sha256"], facts["checkpoint sha256"]) == ("1" * 64, "2" * 64)
    assert (facts["runs"], facts["bytes changed"]) == (2, 48)
    assert facts["notice"] == container.NOTICE
    first, second = found.tables["files"]
    assert (first["sha256 of the base"], first["sha256 of the result"], first["runs"]) == ("a" * 64, "the same", 0)
    assert (second["sha256 of the base"], second["sha256 of the result"], second["runs"]) == ("c" * 64, "d" * 64, 2)


def test_its_payload_is_nowhere_in_what_is_told(path: Path) -> None:
    told = repr(inspect(path))
    assert PAYLOAD.hex() not in told
    assert repr(PAYLOAD)[2:20] not in told


def test_under_another_name_it_is_still_one(path: Path) -> None:
    renamed = path.rename(path.with_name("anna.safetensors"))
    assert inspect(renamed).kind == "pack"


def test_a_damaged_one_is_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="is not a sound pack"):
        inspect(path)


def test_a_sealed_one_shows_that_it_is(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(sealed.seal(path.read_bytes(), [PUBLIC]))
    monkeypatch.delenv(sealed.VARIABLE, raising=False)
    facts = inspect(path).facts
    assert facts["sealed"] == "yes"
    assert "give --key FILE, or name it in $MFS_EDGE_KEY" in facts["contents"]
    assert "target" not in facts
    key = tmp_path / "key.txt"
    key.write_text(SECRET)
    other = tmp_path / "other.txt"
    other.write_text("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX")
    with pytest.raises(InputError):
        inspect(path, key=other)
    assert inspect(path, key=key).facts["target"] == "openvino"
    monkeypatch.setenv(sealed.VARIABLE, str(key))
    facts = inspect(path).facts
    assert (facts["sealed"], facts["target"]) == ("yes", "openvino")


@pytest.mark.parametrize("name", ["a.txt", "a.npy", "a.onnx", "a.ppm"])
def test_a_key_is_for_packs(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("P3\n1 1\n255\n0 0 0\n" if name == "a.ppm" else "text")
    with pytest.raises(UsageError, match="leave --key out"):
        inspect(tmp_path / name, key=tmp_path / "key.txt")
