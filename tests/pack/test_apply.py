"""Base + pack: refused with nothing written, or whole under its final name; with numpy at most."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mfs_edge import pack as packs
from mfs_edge.base.errors import InputError, MfsEdgeError, OutputError, UsageError
from mfs_edge.pack import container

from .conftest import SIZE

ARTEFACTS = {name: f"idn-{SIZE}-fp16{suffix}" for name, suffix in
             {"onnx": ".onnx", "openvino": ".xml", "coreml": ".mlpackage"}.items()}  # fmt: skip
PERSON = "person00"


def pack_of(made: Path, artefact: str) -> Path:
    return made / f"{PERSON}-{artefact}.pack"


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=ARTEFACTS)
def pair(request: pytest.FixtureRequest, built: Path, made: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A base and its pack, in a folder of their own."""
    name = ARTEFACTS[request.param]
    for path in built.glob(f"{Path(name).stem}.*"):
        if path.suffix in (Path(name).suffix, ".bin"):
            (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    shutil.copy(pack_of(made, name), tmp_path / "a.pack")
    return tmp_path / name, tmp_path / "a.pack"


def refused(
    kind: type[MfsEdgeError], match: str, base: Path, pack: Path, out: Path, *, overwrite: bool = False
) -> None:
    before = everything(base.parent)
    with pytest.raises(kind, match=match) as caught:
        packs.apply(base, pack, out, overwrite=overwrite)
    assert "\n" not in str(caught.value)
    assert everything(base.parent) == before


def test_the_result_has_the_hashes_that_the_pack_says(pair: tuple[Path, Path]) -> None:
    base, pack = pair
    applied = packs.apply(base, pack, base.with_name(f"new{base.suffix}"))
    says = container.read(pack)
    for name, part in says.files.items():
        path = base.parent / name.replace(base.stem, "new")
        assert hashlib.sha256(path.read_bytes()).hexdigest() == part.result
    assert applied.path == base.with_name(f"new{base.suffix}")
    assert not [path for path in base.parent.rglob("*") if ".tmp" in path.name]


def test_a_renamed_base_is_found(pair: tuple[Path, Path]) -> None:
    base, pack = pair
    for path in list(base.parent.glob(f"{base.stem}.*")):
        path.rename(path.with_name(f"mine.v2{path.suffix}"))
    first = packs.apply(base.with_name(f"mine.v2{base.suffix}"), pack, base.with_name(f"other{base.suffix}"))
    assert first.path.exists()
    assert all((base.parent / name).exists() for name in first.companions)


def test_an_edited_base_is_refused(pair: tuple[Path, Path]) -> None:
    base, pack = pair
    for name in container.read(pack).files:
        path = base.parent / name
        kept = path.read_bytes()
        for damaged in (kept[:-1], kept + b"\0", bytes([kept[0] ^ 1]) + kept[1:]):
            path.write_bytes(damaged)
            refused(InputError, "is not the base", base, pack, base.with_name(f"new{base.suffix}"))
        path.unlink()
        refused(InputError, "no such file", base, pack, base.with_name(f"new{base.suffix}"))
        path.write_bytes(kept)


def test_a_result_is_no_base(pair: tuple[Path, Path]) -> None:
    base, pack = pair
    out = base.with_name(f"new{base.suffix}")
    packs.apply(base, pack, out)
    refused(InputError, "identity is in it already", out, pack, base.with_name(f"newer{base.suffix}"))


def test_another_targets_pack_is_refused(pair: tuple[Path, Path], made: Path) -> None:
    base, _ = pair
    for name in set(ARTEFACTS.values()) - {base.name}:
        refused(InputError, "is not the base", base, pack_of(made, name), base.with_name(f"new{base.suffix}"))


def test_a_truncated_pack_or_none_is_refused(pair: tuple[Path, Path]) -> None:
    base, pack = pair
    out, data = base.with_name(f"new{base.suffix}"), pack.read_bytes()
    for damaged in (data[:-1], data[:100], data[:8], b"", b"no pack at all", base.name.encode() * 100):
        pack.write_bytes(damaged)
        refused(InputError, r"a\.pack", base, pack, out)
    refused(InputError, "no such file", base, pack.with_name("gone.pack"), out)


def test_what_is_there_is_kept_without_overwrite(pair: tuple[Path, Path]) -> None:
    base, pack = pair
    out = base.with_name(f"new{base.suffix}")
    packs.apply(base, pack, out)
    first = everything(base.parent)
    refused(OutputError, "exists already", base, pack, out)
    packs.apply(base, pack, out, overwrite=True)
    assert everything(base.parent) == first


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_result_over_what_it_is_made_from(pair: tuple[Path, Path], overwrite: bool) -> None:
    base, pack = pair
    refused(OutputError, "would replace what it is made from|exists already", base, pack, base, overwrite=overwrite)
    refused(UsageError, "suffix", base, pack, pack, overwrite=overwrite)
    refused(UsageError, "suffix", base, pack, base.with_name("new.bin"), overwrite=overwrite)
    refused(OutputError, "there is no folder", base, pack, base.parent / "no" / f"a{base.suffix}", overwrite=overwrite)
    inside = base / f"a{base.suffix}"
    refused(OutputError, "lie in each other|there is no folder", base, pack, inside, overwrite=overwrite)


def test_a_base_may_be_a_link(pair: tuple[Path, Path]) -> None:
    base, pack = pair
    links = base.parent / "current"
    links.mkdir()
    for path in base.parent.glob(f"{base.stem}.*"):
        (links / path.name).symlink_to(path)
    assert packs.apply(links / base.name, pack, base.with_name(f"new{base.suffix}")).path.exists()


def test_a_folder_in_the_way_of_a_file_is_refused(built: Path, made: Path, tmp_path: Path) -> None:
    base = built / ARTEFACTS["onnx"]
    (tmp_path / "new.onnx").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        packs.apply(base, pack_of(made, base.name), tmp_path / "new.onnx", overwrite=True)


BLOCKED = """
import sys
class Blocked:
    allowed = {"numpy", "mfs_edge"}
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in self.allowed and top not in sys.stdlib_module_names and top[0] != "_":
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
import mfs_edge
print(mfs_edge.pack.apply(*sys.argv[1:]).path)
"""


@pytest.mark.parametrize("name", ARTEFACTS)
def test_numpy_is_enough(name: str, built: Path, made: Path, tmp_path: Path) -> None:
    base = built / ARTEFACTS[name]
    arguments = [str(base), str(pack_of(made, base.name)), str(tmp_path / f"new{base.suffix}")]
    ran = subprocess.run([sys.executable, "-c", BLOCKED, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == arguments[-1]
