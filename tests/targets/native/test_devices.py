"""A device needs no compiler: what it runs is made here for it, and vouched for before."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mfs_edge.targets.native import NativeTarget, cross

from mfs_edge.base.errors import InputError, MissingDependency
from mfs_edge.measure import luggage
from mfs_edge.measure.devices import Options, Request, Watch, open_device
from mfs_edge.target import Machine
from tests.measure.conftest import Server, python, quick, sshd

__all__ = ["python", "quick", "sshd"]
Made = Callable[[int], Path]


def test_ssh_sends_the_library(made: Made, sshd: Server, python: str, quick: Request) -> None:
    remote = open_device(sshd.spec, Options(python=python))
    found = remote.measure(made(32), quick, Watch())
    assert found.machine.runtime_version == "a compiler elsewhere"
    assert found.picture is not None
    assert found.latency is not None
    assert sshd.is_clean()
    assert not (made(32) / "lib").exists()


def test_a_strangers_code_is_not_sent_either(
    made: Made, sshd: Server, python: str, quick: Request, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(made(32), tmp_path / "broken.idn"))
    (broken / "idn.c").write_text((broken / "idn.c").read_text() + "int more;\n")
    with pytest.raises(InputError, match=r"idn\.c"):
        open_device(sshd.spec, Options(python=python)).measure(broken, quick, Watch())
    with pytest.raises(InputError, match=r"idn\.c"):
        NativeTarget().built(broken, Machine("Linux", "x86_64"))


@pytest.mark.parametrize(
    ("machine", "name", "kind"),
    [
        (Machine("Linux", "aarch64"), "idn-linux-aarch64.so", b"\x7fELF\x02"),
        (Machine("Linux", "x86_64", libc=""), "idn-linux-x86_64.so", b"\x7fELF\x02"),
        (Machine("Linux", "aarch64", bits=32), "idn-linux-aarch64.so", b"\x7fELF\x01"),
        (Machine("Darwin", "arm64"), "idn-darwin-aarch64.dylib", b"\xcf\xfa\xed\xfe"),
    ],
)
def test_what_is_made(made: Made, machine: Machine, name: str, kind: bytes) -> None:
    (there,) = [path for path in luggage.contents(made(32), machine) if "/lib/" in path]
    assert there == f"{made(32).name}/lib/{name}"
    assert luggage.contents(made(32), machine)[there].startswith(kind)


@pytest.mark.parametrize(
    ("machine", "triple"),
    [
        (Machine("Linux", "x86_64"), "x86_64-linux-gnu.2.17"),
        (Machine("Linux", "aarch64", libc=""), "aarch64-linux-musl"),
        (Machine("Linux", "armv7l", bits=32), "arm-linux-gnueabihf.2.17"),
        (Machine("Linux", "armv7l", bits=32, libc=""), "arm-linux-musleabihf"),
        (Machine("Linux", "x86_64", bits=32), "x86-linux-gnu.2.17"),
        (Machine("Darwin", "x86_64"), "x86_64-macos"),
    ],
)
def test_how_it_is_called(machine: Machine, triple: str) -> None:
    assert cross.triple(machine) == triple


@pytest.mark.parametrize(
    "machine", [Machine("Windows", "AMD64"), Machine("Linux", "sparc64"), Machine("FreeBSD", "amd64")]
)
def test_other_machines_are_refused_by_name(machine: Machine) -> None:
    with pytest.raises(MissingDependency, match=rf"not for {machine.system} on {machine.machine}; compile"):
        cross.triple(machine)


def test_without_ziglang_it_says_so(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'mfs-edge\[native\]'"):
        NativeTarget().built(made(32), Machine("Linux", "aarch64"))


@pytest.mark.emulated
@pytest.mark.parametrize("board", ["rpi4", "rpi5"])
def test_the_emulated_boards_count_it(made: Made, board: str) -> None:
    found = open_device(f"emulated:{board}", Options()).measure(made(64), Request(), Watch())
    assert found.machine.arch == "aarch64"
    assert found.instructions is not None
    assert found.instructions.median > 1e6
    assert found.instructions.spread < 0.001
