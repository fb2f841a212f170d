"""A third party's target, installed from outside: compiled, verified, inspected, benched, swapped with, nothing edited.

The folder beside this file is the worked example of CONTRIBUTING's "Add a target".
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mfs_edge.load.identity import Identity, save
from tests.measure.conftest import Server

SOURCE = Path(__file__).parent / "npz_target"
SIZE = "32"


class Installed:
    """A folder with an identity, where the third party's package is installed beside ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(SOURCE, folder / "source")  # pip builds in place
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "site")]
        subprocess.run([*command, str(folder / "source")], check=True)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``mfs-edge ARGUMENTS`` in the folder."""
        return subprocess.run(
            [sys.executable, "-m", "mfs_edge", *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder / "site")},
            timeout=300,
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, demo_identities: list[Identity]) -> Installed:
    installed = Installed(tmp_path_factory.mktemp("third-party"))
    save(demo_identities[0], installed.folder / "id.npy")
    return installed


@pytest.fixture(scope="module")
def built(run: Installed) -> Path:
    """The folder that ``compile`` wrote."""
    done = run("compile", "--identity", "id.npy", "--target", "npz", "--size", SIZE, "--set", "npz.compressed=true")
    assert done.returncode == 0, done.stderr
    return run.folder / "build"


def manifest(built: Path) -> dict[str, object]:
    (artefact,) = json.loads((built / "manifest.json").read_text())["artefacts"]
    return dict(artefact)


def test_it_is_compiled_and_verified(built: Path) -> None:
    found = manifest(built)
    verification = found["verification"]
    assert isinstance(verification, dict)
    assert (found["target"], found["file"]) == ("npz", "idn-32-fp32.idnz")
    assert (verification["status"], verification["verified"]) == ("passed", "runtime")
    assert verification["swapped"]["psnr_mean"] > 100
    assert verification["execution"].startswith("numpy ")
    assert found["options"] == {"compressed": True}


def test_it_is_inspected(run: Installed, built: Path) -> None:
    told = json.loads(run("inspect", f"build/{manifest(built)['file']}", "--layers", "--json").stdout)
    assert told["format"] == "numpy archive"
    assert told["macs"] == manifest(built)["macs"]
    assert len(told["layers"]) == 66


def test_doctor_and_help_know_it(run: Installed) -> None:
    told = json.loads(run("doctor", "--json").stdout)
    (target,) = [entry for entry in told["targets"] if entry["name"] == "npz"]
    assert target["emits"]
    assert target["runs"]
    assert any("compressed" in str(option) for option in target["options"])


def test_it_swaps_a_face(run: Installed) -> None:
    from mfs_edge import sample

    options = ("--identity", "id.npy", "--target", "npz", "--out", "large", "--no-verify")
    assert run("compile", *options).returncode == 0
    shutil.copy(sample.FACES / "target_00.png", run.folder / "face.png")
    np.savetxt(run.folder / "face.txt", json.loads((sample.FACES / "landmarks.json").read_text())["target_00"])
    done = run("swap", "face.png", "swapped.png", "--artefact", "large", "--landmarks", "face.txt", "--json")
    assert done.returncode == 0, done.stderr
    (file,) = json.loads(done.stdout)["files"]
    assert (file["swapped"], file["made"]["target"]) == (1, "npz")
    assert (run.folder / "swapped.png").exists()


def test_it_is_benched_here_and_over_ssh(run: Installed, built: Path, sshd: Server, python: str) -> None:
    """There, its engine travels: the package is not installed on the device."""
    for device in ("local", sshd.spec):
        done = run("bench", "build", "--device", device, "--python", python, "--json", "report.json")
        assert done.returncode == 0, done.stderr
        (entry,) = json.loads((built.parent / "report.json").read_text())["entries"]
        assert entry["facts"]["macs"] == manifest(built)["macs"]
        assert entry["facts"]["verification"] == "passed"
        assert entry["observation"]["machine"]["runtime"] == "numpy"
        assert entry["observation"]["latency"]["runs"] >= 50
        assert any("the picture that was proven" in note for note in entry["observation"]["notes"])


def test_a_session_that_gives_another_picture_is_refused(run: Installed, built: Path) -> None:
    """What is timed is not what was proven: its engine computes otherwise once the proof is made."""
    engine = built.parent / "site" / "mfs_edge_npz" / "engine.py"
    sound = engine.read_text()
    try:
        engine.write_text(
            sound.replace('"Mul": lambda given, a: given[0] * given[1]', '"Mul": lambda given, a: given[0]')
        )
        done = run("bench", "build", "--no-time")
    finally:
        engine.write_text(sound)
    assert done.returncode == 1
    assert "does not give the picture that was proven" in done.stderr
    assert run("bench", "build", "--no-time").returncode == 0


def test_another_identitys_bytes_are_not_called_proven(run: Installed, built: Path) -> None:
    path = built / str(manifest(built)["file"])
    sound = path.read_bytes()
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    try:
        np.savez(path.with_suffix(".npz"), **{n: a * 1.01 if a.dtype == np.float32 else a for n, a in arrays.items()})
        path.with_suffix(".npz").replace(path)
        done = run("bench", "build", "--no-time", "--json", "other.json")
        (entry,) = json.loads((built.parent / "other.json").read_text())["entries"]
    finally:
        path.write_bytes(sound)
    assert done.returncode == 0
    assert entry["facts"]["verification"] is None
    assert any("was not compared" in note for note in entry["observation"]["notes"])
