"""Several runs in one folder: every result listed with its right hashes, or a clear refusal; none lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mfs_edge import bundle
from mfs_edge.base.errors import OutputError
from mfs_edge.bundle import lock
from mfs_edge.bundle.manifest import Manifest, read
from tests.bundle import made

REPOSITORY = Path(__file__).parents[2]
PAIRS = 20  # of each kind
CHILD = (
    "import sys; from pathlib import Path; from tests.bundle import made; import filelock; from mfs_edge import target;"
    "target.registered(); print(flush=True); sys.stdin.readline();"
    "[made.publish(Path(line.strip()), *sys.argv[1:]) for line in sys.stdin]"
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def processes(folders: list[Path]) -> None:
    """Two processes, each publishing its own artefact into every folder, at the same time."""
    command = [sys.executable, "-c", CHILD]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": REPOSITORY}
    both = [subprocess.Popen([*command, *words], **pipes) for words in (("x", "onnx"), ("y", "openvino"))]
    for child in both:
        child.stdout.readline()
    for child in both:
        child.stdin.write("\n" + "".join(f"{folder}\n" for folder in folders))
        child.stdin.close()
    assert [child.wait(timeout=120) for child in both] == [0, 0]


def threads(folders: list[Path]) -> None:
    def run(whose: str, form: str, folder: Path, barrier: threading.Barrier) -> None:
        barrier.wait()
        made.publish(folder, whose, form)

    with ThreadPoolExecutor(2) as pool:
        for folder in folders:
            barrier = threading.Barrier(2)
            both = [pool.submit(run, *words, folder, barrier) for words in (("x", "onnx"), ("y", "openvino"))]
            for each in both:
                each.result(timeout=120)


@pytest.mark.parametrize("pairs", [processes, threads])
def test_two_at_once_are_both_listed(tmp_path: Path, pairs: Callable[[list[Path]], None]) -> None:
    folders = [tmp_path / str(n) for n in range(PAIRS)]
    pairs(folders)
    for folder in folders:
        assert made.holds(folder) == {"x", "y"}
        assert names(folder) == ["idn.bin", "idn.onnx", "idn.xml", bundle.MANIFEST]


@pytest.mark.parametrize("form", made.FORMS)
def test_of_two_under_one_name_the_last_is_there_whole(tmp_path: Path, form: str) -> None:
    def run(whose: str) -> None:
        for _ in range(5):
            made.publish(tmp_path / "out", whose, form)

    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(run, whose) for whose in "abcd"]:
            each.result(timeout=120)
    assert len(made.holds(tmp_path / "out")) == 1
    assert len(names(tmp_path / "out")) == 1 + len({path.split("/")[0] for path in made.contents(form, "x")})


def test_a_living_run_keeps_its_staging_folder(tmp_path: Path) -> None:
    """Threads have one process number, and this one goes on while another run starts and ends."""
    with bundle.staging(tmp_path) as stage:
        ours = made.record(made.write(stage, "onnx", "x"), "onnx", "x")
        made.publish(tmp_path, "y", "openvino")
        thread = threading.Thread(target=made.publish, args=(tmp_path, "z", "tflite"))
        thread.start()
        thread.join()
        bundle.publish(stage, tmp_path, Manifest(versions={}, artefacts=(ours,)))
    assert made.holds(tmp_path) == {"x", "y", "z"}


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs unshare and root, as CI has")
def test_a_run_in_another_pid_namespace_is_not_dead(tmp_path: Path) -> None:
    """Its process number means nothing here, and ours means nothing there."""
    with bundle.staging(tmp_path) as stage:
        ours = made.record(made.write(stage, "onnx", "x"), "onnx", "x")
        child = ["unshare", "--pid", "--fork", sys.executable, "-c", CHILD, "y", "openvino"]
        subprocess.run(child, cwd=REPOSITORY, input=f"\n{tmp_path}\n", text=True, check=True)
        assert stage.exists()
        bundle.publish(stage, tmp_path, Manifest(versions={}, artefacts=(ours,)))
    assert made.holds(tmp_path) == {"x", "y"}


def test_who_waits_too_long_is_told(tmp_path: Path) -> None:
    refused = pytest.raises(OutputError, match="another run is writing")
    with lock.held(tmp_path, soft=False), refused, lock.held(tmp_path, soft=False, wait=0.2):
        raise AssertionError
    made.publish(tmp_path, "x", "onnx")
    assert made.holds(tmp_path) == {"x"}


def test_readers_never_see_half_of_it(tmp_path: Path) -> None:
    """By the manifest and its hashes, which a reader may have to fetch anew."""
    made.publish(tmp_path, "a", "openvino")
    writer = threading.Thread(target=lambda: [made.publish(tmp_path, w, "openvino") for w in "bcdefgh"])
    writer.start()
    seen = 0
    while writer.is_alive():
        (entry,) = read(tmp_path / bundle.MANIFEST).artefacts
        whole = entry.intact(tmp_path)
        assert whole or read(tmp_path / bundle.MANIFEST).artefacts != (entry,)
        seen += whole
    writer.join()
    assert seen
    assert made.holds(tmp_path) == {"h"}
