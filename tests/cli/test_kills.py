"""Killed or interrupted at random moments, in a new folder and in one with earlier work: what is listed is whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mfs_edge import bundle
from mfs_edge.base import files
from mfs_edge.bundle import manifest
from mfs_edge.load.identity import Identity, save

TRIALS = 2  # of each kind
TARGETS = ("onnx", "openvino", "coreml")  # a file, two files, a folder
COMMAND = [sys.executable, "-m", "mfs_edge", "compile", "--identity", "id.npy", "--size", "64", "--no-verify"]
COMMAND += [word for target in TARGETS for word in ("--target", target)]


def started(folder: Path) -> subprocess.Popen[bytes]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MFS_EDGE")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(COMMAND, cwd=folder, env=environment, **quiet)


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.exists() else set()


def assert_whole(folder: Path) -> set[str]:
    """What the manifest lists is there with its very bytes, and nothing else is; the identities in it.

    A run that ended behind its one commit may leave what it lists under names of before and of after.
    """
    if not (folder / "manifest.json").exists():
        assert visible(folder) == set()
        return set()
    found = manifest.read(folder / "manifest.json")
    for artefact in found.artefacts:
        for name, digest in artefact.files.items():
            assert files.sha256(folder / name) == digest, name
    assert bundle.foreign(folder) == []
    return {artefact.identity_sha256 for artefact in found.artefacts}


@pytest.fixture(scope="module")
def duration(demo_identities: list[Identity], tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds of a whole run."""
    folder = tmp_path_factory.mktemp("whole")
    save(demo_identities[0], folder / "id.npy")
    begun = time.monotonic()
    assert started(folder).wait() == 0
    assert len(assert_whole(folder / "build")) == 1
    return time.monotonic() - begun


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_stopped_at_random(
    stop: signal.Signals, existing: bool, duration: float, demo_identities: list[Identity], tmp_path: Path
) -> None:
    moments = random.Random(int(stop) + 100 * existing)
    identities = demo_identities[:2]
    for trial in range(TRIALS):
        folder = tmp_path / str(trial)
        folder.mkdir()
        save(identities[0], folder / "id.npy")
        if existing:
            assert started(folder).wait() == 0
            save(identities[1], folder / "id.npy")
        process = started(folder)
        time.sleep(duration * moments.uniform(0.3, 1.05))
        process.send_signal(stop)
        process.wait()
        assert_whole(folder / "build")
        assert started(folder).wait() == 0
        assert assert_whole(folder / "build") == {identities[existing].sha256}
