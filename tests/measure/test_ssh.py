"""``ssh:`` against a real OpenSSH server on loopback, and everything that goes wrong with one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from mfs_edge.base.errors import DeviceError, InputError, MissingDependency, UsageError
from mfs_edge.measure import agent, luggage
from mfs_edge.measure.devices import Cancelled, Device, Options, Request, Watch, open_device
from tests.measure.conftest import Server


def device(server: Server, python: str) -> Device:
    return open_device(server.spec, Options(python=python))


@pytest.fixture
def endless(quick: Request) -> Request:
    return replace(quick, seconds=60.0)


def when_running(server: Server, act: object) -> Watch:
    """A watch that calls ``act`` once, when frames are being measured."""
    assert callable(act)
    once = threading.Event()

    def tell(done: float, left_s: float) -> None:
        if done > 0 and not once.is_set():
            once.set()
            act()

    return Watch(tell)


@pytest.mark.parametrize("name", ["idn.onnx", "idn.tflite", "idn.xml"])
def test_measures_and_leaves_nothing(sshd: Server, artefacts: Path, quick: Request, python: str, name: str) -> None:
    remote = device(sshd, python)
    remote.check()
    told: list[float] = []
    found = remote.measure(artefacts / name, quick, Watch(lambda done, left: told.append(done)))
    assert found.latency is not None
    assert found.latency.runs == len(found.latency.samples_ms) >= quick.runs
    assert found.machine.threads == 1
    assert told
    assert sshd.is_clean()


def test_wrong_host_key(sshd: Server, python: str) -> None:
    sshd.configure(known_hosts="wrong_hosts")
    with pytest.raises(DeviceError, match=r"host key has changed.*ssh-keygen -R"):
        device(sshd, python).check()


def test_unknown_host_key(sshd: Server, python: str) -> None:
    sshd.configure(known_hosts="no_hosts")
    with pytest.raises(DeviceError, match="host key is not known here; connect once by hand"):
        device(sshd, python).check()


def test_refused_login(sshd: Server, python: str) -> None:
    sshd.configure(key="stranger_key")
    with pytest.raises(DeviceError, match=r"refuses the login.*ssh-copy-id"):
        device(sshd, python).check()


def test_nothing_listens(sshd: Server, python: str) -> None:
    sshd.process.terminate()
    sshd.process.wait()
    with pytest.raises(DeviceError, match="nothing listens there"):
        device(sshd, python).check()


def test_server_drops_in_the_middle(sshd: Server, artefacts: Path, endless: Request, python: str) -> None:
    def drop() -> None:
        servers = [
            pid for pid in sshd.sessions() if b"sshd" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        ]
        assert servers
        for pid in servers:
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(DeviceError, match=r"the connection broke off while measuring idn\.onnx.*nothing was recorded"):
        device(sshd, python).measure(artefacts / "idn.onnx", endless, when_running(sshd, drop))
    assert sshd.is_clean()


def test_the_runner_dies_in_the_middle(sshd: Server, artefacts: Path, endless: Request, python: str) -> None:
    def kill() -> None:
        runners = [
            pid for pid in sshd.sessions() if b"runner.py" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        ]
        assert len(runners) == 1
        os.kill(runners[0], signal.SIGKILL)

    with pytest.raises(DeviceError, match=r"measuring idn\.tflite.*signal 9.*out of memory"):
        device(sshd, python).measure(artefacts / "idn.tflite", endless, when_running(sshd, kill))
    assert sshd.is_clean()


def test_full_disk(full_sshd: Server, artefacts: Path, quick: Request, python: str) -> None:
    with pytest.raises(DeviceError, match="its disk is full"):
        device(full_sshd, python).measure(artefacts / "idn.onnx", quick, Watch())
    assert full_sshd.is_clean()


def test_interrupt_stops_the_device(sshd: Server, artefacts: Path, endless: Request, python: str) -> None:
    watch = when_running(sshd, lambda: watch.cancelled.set())
    started = time.monotonic()
    with pytest.raises(Cancelled):
        device(sshd, python).measure(artefacts / "idn.onnx", endless, watch)
    assert time.monotonic() - started < 30
    assert sshd.is_clean()


def test_no_python_there(sshd: Server) -> None:
    with pytest.raises(MissingDependency, match=r"has no /nowhere/python3.*--python PATH"):
        device(sshd, "/nowhere/python3").check()


def test_no_runtime_there(sshd: Server, artefacts: Path, quick: Request, python: str, tmp_path: Path) -> None:
    subprocess.run([python, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    with pytest.raises(MissingDependency, match=r"cannot be imported.*pip install"):
        device(sshd, str(tmp_path / "bare" / "bin" / "python")).measure(artefacts / "idn.onnx", quick, Watch())
    assert sshd.is_clean()


def test_damaged_artefact(sshd: Server, quick: Request, python: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\0\0\0\0TFL3" + b"\xff" * 100)
    with pytest.raises(InputError, match=r"broken\.tflite: is not a sound TFLite artefact"):
        device(sshd, python).measure(broken, quick, Watch())
    assert sshd.is_clean()  # nothing was sent


def test_an_artefact_that_its_runtime_there_refuses(
    sshd: Server, quick: Request, python: str, artefacts: Path, tmp_path: Path
) -> None:
    model = onnx.load(artefacts / "idn.onnx")
    model.opset_import[0].version = 4  # which knows none of its operators in this form
    onnx.save(model, tmp_path / "old.onnx")
    with pytest.raises(InputError, match=r"old\.onnx: on ssh:.*cannot load it"):
        device(sshd, python).measure(tmp_path / "old.onnx", quick, Watch())
    assert sshd.is_clean()


# Names that a shell, an option parser or our own files beside it would take for something else.
HOSTILE = [
    "a b.onnx",
    "x;touch PWNED;.onnx",
    "$(touch PWNED).onnx",
    "`touch PWNED`.onnx",
    "a' ; touch PWNED ; '.onnx",
    'a" ; touch PWNED ; ".onnx',
    "a\ntouch PWNED\n.onnx",
    "a&touch PWNED|b>PWNED.onnx",
    "--help.onnx",
    "-x.onnx",
    "runner.py.onnx",
    "größe 額.onnx",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_a_name(
    sshd: Server, artefacts: Path, quick: Request, python: str, tmp_path: Path, name: str
) -> None:
    named = tmp_path / "in" / name
    named.parent.mkdir()
    shutil.copyfile(artefacts / "idn.onnx", named)
    assert device(sshd, python).measure(named, quick, Watch()).latency is not None
    assert sshd.is_clean()
    assert not [path for path in tmp_path.rglob("*") if "PWNED" in path.name and path != named]
    assert not list(Path.home().glob("*PWNED*"))


@pytest.mark.parametrize("folder", ["a b", "x;touch PWNED;", "$(touch PWNED)", "a'b\"c`touch PWNED`", "a\nb"])
def test_an_interpreter_of_any_name(sshd: Server, tmp_path: Path, python: str, folder: str) -> None:
    named = tmp_path / folder / "python3"
    named.parent.mkdir()
    named.symlink_to(python)
    device(sshd, str(named)).check()
    with pytest.raises(MissingDependency, match="--python PATH"):
        device(sshd, f"{named}; touch PWNED").check()
    assert not list(tmp_path.rglob("PWNED"))
    assert not list(Path.home().glob("*PWNED*"))


def test_cpus_that_are_not_there(sshd: Server, artefacts: Path, quick: Request, python: str) -> None:
    with pytest.raises(UsageError, match=r"ssh:.*--cpu-mask names CPU 5000; this process may use 0"):
        device(sshd, python).measure(artefacts / "idn.onnx", replace(quick, cpus=(0, 5000)), Watch())
    assert sshd.is_clean()


def package(folder: Path) -> Path:
    """Enough of a package to be packed for a journey."""
    made = folder / "x.mlpackage"
    (made / "Data/com.apple.CoreML/weights").mkdir(parents=True)
    (made / "Manifest.json").write_text("{}")
    (made / "Data/com.apple.CoreML/model.mlmodel").write_bytes(b"model")
    return made


@pytest.mark.parametrize("target", ["{secret}", "../../../../secret", "../../../../link"])
def test_a_link_out_of_a_package_is_not_sent(tmp_path: Path, target: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("my key")
    (tmp_path / "link").symlink_to(secret)
    made = package(tmp_path)
    (made / "Data/com.apple.CoreML/weights/weight.bin").symlink_to(target.format(secret=secret))
    with pytest.raises(InputError, match=r"weight\.bin: is a symbolic link to something else"):
        luggage.contents(made)


def test_a_folder_that_is_a_link_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/key").write_text("my key")
    made = package(tmp_path)
    (made / "Data/other").symlink_to(tmp_path / "home")
    with pytest.raises(InputError, match="Data/other: is a symbolic link to something else"):
        luggage.contents(made)


def test_a_companion_that_is_a_link_to_elsewhere_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("my key")
    (tmp_path / "in/x.xml").write_text("<net/>")
    (tmp_path / "in/x.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match=r"x\.bin: is a symbolic link out of its folder; put the file itself there"):
        luggage.contents(tmp_path / "in/x.xml")


def test_links_that_stay_at_home_are_followed(tmp_path: Path) -> None:
    """Within a package, and to a package. What lies elsewhere, as in a download cache, is to be copied first."""
    made = package(tmp_path)
    (made / "Data/com.apple.CoreML/weights/weight.bin").symlink_to("../model.mlmodel")
    assert luggage.contents(made)["x.mlpackage/Data/com.apple.CoreML/weights/weight.bin"] == b"model"
    (tmp_path / "shortcut.mlpackage").symlink_to(made)
    assert luggage.contents(tmp_path / "shortcut.mlpackage")["shortcut.mlpackage/Manifest.json"] == b"{}"
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    for blob, name in (("1f", "x.xml"), ("2e", "x.bin")):
        (tmp_path / "blobs" / blob).write_text(name)
        (tmp_path / "snapshot" / name).symlink_to(f"../blobs/{blob}")
    with pytest.raises(InputError, match=r"x\.bin: is a symbolic link out of its folder"):
        luggage.contents(tmp_path / "snapshot/x.xml")


@pytest.mark.parametrize("name", ["../out", "/tmp/out-of-here", "a/../../out"])
def test_the_agent_writes_into_its_folder_only(tmp_path: Path, python: str, name: str) -> None:
    header = {"files": [[name, 1, hashlib.sha256(b"x").hexdigest()]], "argv": ["-c", "pass"]}
    done = subprocess.run(
        [python, agent.__file__], input=json.dumps(header).encode() + b"\nx", capture_output=True, cwd=tmp_path
    )
    assert b"lies outside of the folder" in done.stdout
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []
