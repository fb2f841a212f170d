"""``mfs-edge pack`` as a user calls it; and what docs/packs.md says, run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mfs_edge
from mfs_edge.load import identity as identities
from mfs_edge.load.identity import Identity

DOCS = Path(__file__).parents[2] / "docs/packs.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, demo_identities: list[Identity]) -> Path:
    """A base, and two people."""
    path = tmp_path_factory.mktemp("packs")
    mfs_edge.compile(
        identity=demo_identities[0], size=32, target=["onnx", "openvino"], out=path / "build", verify=False
    )
    (path / "people").mkdir()
    for name, person in zip(("anna", "ben"), demo_identities[1:], strict=True):
        identities.save(person, path / "people" / f"{name}.npy")
    return path


def run(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mfs_edge", "pack", *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MFS_EDGE")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def test_one_face_and_another(folder: Path) -> None:
    made = run(folder, "make", "--base", "build", "--identity", "people/anna.npy", "-o", "packs")
    assert "2 packs" in made.stdout
    assert "biometric" in made.stdout
    assert "demo weights" in made.stderr  # the loud warning
    pack = "packs/anna-idn-32-fp32.onnx.pack"
    done = run(folder, "apply", "build/idn-32-fp32.onnx", pack, "-o", "anna.onnx", "--json")
    told = json.loads(done.stdout)
    assert told["out"] == "anna.onnx"
    again = run(folder, "apply", "build/idn-32-fp32.onnx", pack, "-o", "anna.onnx", code=2)
    assert again.stderr == "mfs-edge: anna.onnx: exists already; choose another -o, or add --overwrite\n"
    run(folder, "apply", "build/idn-32-fp32.onnx", pack, "-o", "anna.onnx", "--overwrite")
    assert mfs_edge.pack.apply(folder / "build/idn-32-fp32.onnx", folder / pack, folder / "b.onnx").sha256s == {
        "b.onnx": told["files"]["anna.onnx"]
    }


def test_a_failed_identity_is_one_line_and_exit_1_at_the_end(folder: Path, tmp_path: Path) -> None:
    people = tmp_path / "people"
    people.mkdir()
    (people / "broken.npy").write_bytes(b"\x93NUMPY")
    for path in (folder / "people").iterdir():
        (people / path.name).write_bytes(path.read_bytes())
    done = run(
        folder, "make", "--base", "build", "--identities", str(people), "-o", str(tmp_path / "out"), "--json", code=1
    )
    told = json.loads(done.stdout)
    assert len(told["packs"]) == len(list((tmp_path / "out").iterdir())) == 4
    assert list(told["failed"]) == [str(people / "broken.npy")]
    assert done.stderr.count("\n") == 1
    assert "1 identities have no packs" in done.stderr


@pytest.mark.parametrize(("arguments", "words"), [
    (["make", "--base", "build", "-o", "x"], "give either --identity"),
    (["make", "--base", "gone", "--identity", "people/anna.npy", "-o", "x"], "gone/manifest.json"),
    (["make", "--base", "build", "--identity", "gone.npy", "-o", "x"], "gone.npy: no such file"),
    (["make", "--base", "build", "--identities", "people", "-o", "x", "--jobs", "2", "--dask", "a"], "either --jobs"),
    (["apply", "build/idn-32-fp32.onnx", "people/anna.npy", "-o", "x.onnx"], "is not a sound pack"),
    (["apply", "gone.onnx", "people/anna.npy", "-o", "x.onnx"], "is not a sound pack"),
])  # fmt: skip
def test_bad_usage_is_one_line(arguments: list[str], words: str, folder: Path) -> None:
    done = run(folder, *arguments, code=2)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "x.onnx").exists()


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom mfs_edge.cli import main as cli\n"
        "try: cli.cli(['pack', 'make', '--help'])\nexcept SystemExit: pass\n"
        "print('LOADED', [m for m in ('torch', 'onnx', 'numpy', 'pydantic', 'joblib', 'dask') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
    assert "--identities" in done.stdout


def test_the_applier_of_the_docs(folder: Path) -> None:
    run(folder, "make", "--base", "build", "--identity", "people/ben.npy", "-o", "packs")
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    names: dict[str, object] = {}
    exec(code, names)
    for suffix in (".onnx", ".xml"):
        name = f"idn-32-fp32{suffix}"
        pack = folder / f"packs/ben-{name}.pack"
        found = names["applied"](str(folder / "build"), str(pack))  # type: ignore[operator]
        out = folder / f"ben{suffix}"
        applied = mfs_edge.pack.apply(folder / "build" / name, pack, out, overwrite=True)
        assert sorted(found.values()) == sorted(part.read_bytes() for part in applied.parts)
        damaged = bytearray(pack.read_bytes())
        damaged[-1] ^= 1
        (folder / "damaged.pack").write_bytes(damaged)
        with pytest.raises(AssertionError, match="a damaged pack"):
            names["applied"](str(folder / "build"), str(folder / "damaged.pack"))  # type: ignore[operator]
        assert np.frombuffer(found[name], np.uint8).size == (folder / "build" / name).stat().st_size
