"""``ssh:`` against a real OpenSSH server on loopback, and everything that goes wrong with one."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from mfs_edge.base.errors import DeviceError, InputError, MissingDependency, UsageError
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


@pytest.mark.parametrize("address", ["", "user@", "-oProxyCommand=x", "pi@host:ssh"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(UsageError, match="write ssh:USER@HOST"):
        open_device(f"ssh:{address}", Options())
