"""File systems that refuse what is not needed: shares, exFAT, FUSE. The work is done and must not be lost.

None of them can be mounted everywhere, so their refusals are played: the calls fail as they do there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mfs_edge import bundle
from mfs_edge.base import files
from mfs_edge.base.errors import OutputError
from mfs_edge.bundle import lock
from mfs_edge.load import checkpoint, identity
from tests.bundle import made

Refuse = Callable[..., None]
SYSTEMS = {  # call -> what it answers
    "CIFS": {"chmod": errno.EPERM, "utime": errno.EPERM, "link": errno.EOPNOTSUPP, "symlink": errno.EOPNOTSUPP},
    "CIFS without locks": {"chmod": errno.EPERM, "flock": errno.EOPNOTSUPP, "link": errno.EOPNOTSUPP},
    "exFAT": {"chmod": errno.EPERM, "chown": errno.EPERM, "link": errno.EPERM, "utime": errno.EPERM},
    "vfat": {"chmod": errno.EPERM, "fsync": errno.EINVAL, "link": errno.EPERM},
    "FUSE": {"fsync": errno.ENOSYS, "link": errno.ENOSYS, "flock": errno.ENOSYS, "chmod": errno.ENOSYS},
    "NFS": {"flock": errno.ENOLCK, "fsync": errno.EBADF},
    "9p": {"fsync": errno.ENOTSUP, "chmod": errno.EACCES, "link": errno.EXDEV, "flock": errno.EINVAL},
}


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, number in SYSTEMS[request.param].items():
        for module in (fcntl,) if name == "flock" else (os,):
            monkeypatch.setattr(module, name, refusal(number))
        if name == "chmod":
            monkeypatch.setattr(os, "fchmod", refusal(number))
    return request.param


def refusal(number: int) -> Refuse:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def test_published_all_the_same(system: str, tmp_path: Path) -> None:
    for whose in "ab":
        made.publish(tmp_path, whose)
        assert made.holds(tmp_path) == {whose}
    wanted = {path.split("/")[0] for form in made.FORMS for path in made.contents(form, "x")} | {bundle.MANIFEST}
    assert {path.name for path in tmp_path.iterdir()} == wanted


def test_two_at_once_all_the_same(system: str, tmp_path: Path) -> None:
    other = threading.Thread(target=made.publish, args=(tmp_path / "out", "y", "openvino"))
    other.start()
    made.publish(tmp_path / "out", "x", "onnx")
    other.join()
    assert made.holds(tmp_path / "out") == {"x", "y"}


def test_single_files_all_the_same(
    system: str, tmp_path: Path, demo_iin: checkpoint.Checkpoint, golden_identity: identity.Identity
) -> None:
    identity.save(golden_identity, tmp_path / "id.npy")
    assert identity.load(tmp_path / "id.npy").sha256 == golden_identity.sha256
    files.write_text(tmp_path / "report.json", "{}")
    assert (tmp_path / "report.json").read_text() == "{}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["id.npy", "report.json"]


def test_without_locks_the_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with bundle.staging(tmp_path / "a", told.append):
        assert told == []
    monkeypatch.setattr(fcntl, "flock", refusal(errno.EOPNOTSUPP))
    with bundle.staging(tmp_path / "b", told.append):
        assert "cannot lock files" in told[0]
        (stage,) = (tmp_path / "b").glob(".mfs-edge-staging-*")
        made.publish(tmp_path / "b", "x", "onnx")
        assert stage.exists()  # of a living run, though no lock tells so


def test_without_locks_a_killed_holder_is_waited_for_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another machine, that is; one of this machine is known to be dead."""
    monkeypatch.setattr(fcntl, "flock", refusal(errno.EOPNOTSUPP))
    (tmp_path / lock.NAME).write_text("4711\nanother-machine\n")
    with (
        pytest.raises(OutputError, match=r"another run is writing.*delete .*mfs-edge\.lock"),
        lock.held(tmp_path, soft=True, wait=0.2),
    ):
        raise AssertionError
    (tmp_path / lock.NAME).unlink()
    code = "import os, sys; from pathlib import Path; from mfs_edge.bundle import lock\n"
    code += "held = lock.taken(Path(sys.argv[1]), soft=True); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / lock.NAME)], check=False).returncode == 9
    assert (tmp_path / lock.NAME).exists()
    made.publish(tmp_path, "x", "onnx")
    assert made.holds(tmp_path) == {"x"}


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_what_is_not_on_the_disk_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    made.publish(tmp_path, "a")
    monkeypatch.setattr(os, "fsync", refusal(number))
    with pytest.raises(OutputError, match="cannot be written"):
        made.publish(tmp_path, "b")
    monkeypatch.undo()
    assert made.holds(tmp_path) == {"a"}
    made.publish(tmp_path, "c")
    assert made.holds(tmp_path) == {"c"}


def test_a_share_that_is_busy_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, left = os.replace, [2]

    def busy(*names: object, **options: object) -> None:
        if left[0]:
            left[0] -= 1
            raise PermissionError(errno.EACCES, "somebody has it open")
        replace(*names, **options)

    (tmp_path / "x").write_text("old")
    monkeypatch.setattr(os, "replace", busy)
    files.write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "new"
