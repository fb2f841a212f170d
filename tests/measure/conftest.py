"""Small artefacts, quick requests, and a real ssh server."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import mfs_edge
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.measure.devices import Request
from mfs_edge.measure.observed import Coverage, Latency, Machine, Observation
from mfs_edge.measure.results import Entry, Facts

FRAMED = 128  # px, of the crops of what swaps whole frames
SETUP = Path(__file__).parent / "setup_sshd.sh"


@pytest.fixture(scope="session")
def folder(demo_iin: Checkpoint, demo_identities: Sequence[Identity], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo in every runtime, small: what swaps whole frames."""
    room, person = tmp_path_factory.mktemp("whole"), demo_identities[0]
    values = np.concatenate([person.embedding.ravel(), person.feature_map.ravel()]).astype(np.float32)
    np.save(room / "id.npy", values)
    out = room / "build"
    targets = ["c", "onnx", "tflite", "openvino"]
    mfs_edge.compile(identity=room / "id.npy", checkpoint=demo_iin, target=targets, size=FRAMED, out=out)
    return out


@pytest.fixture
def quick() -> Request:
    """As short as a measurement can be."""
    return Request(threads=1, runs=5, warmup=2, seconds=0.05, warmup_seconds=0.02, profile=False)


def entry(**changes: object) -> Entry:
    """A made-up entry; ``changes`` go to its facts, coverage or latency by name."""
    facts = {
        **{"file": "idn.tflite", "format": "TFLite", "sha256": "0" * 64, "bytes": 2_000_000, "graph_hash": "a"},
        **{"operators": {"CONV_2D": 3, "ADD": 1}, "parameters": 500_000, "macs": 300_000_000, "transposes": 0},
        **{"peak_activation_bytes": 13_000_000},
    }
    coverage = {"delegate": "XNNPACK", "nodes": 4, "delegated": 4, "partitions": 1}
    facts |= {key: value for key, value in changes.items() if key in Facts.model_fields}
    coverage |= {key: value for key, value in changes.items() if key in Coverage.model_fields}
    machine = Machine(
        cpu="Some CPU",
        cores=4,
        os="Some OS",
        runtime="LiteRT",
        runtime_version="2.3.0",
        threads=int(str(changes.get("threads", 1))),
    )
    samples = changes.get("samples_ms", [10.0, 11.0, 12.0])
    assert isinstance(samples, list)
    observation = Observation(
        machine=machine,
        coverage=Coverage(**coverage),
        latency=Latency.of(samples, load_ms=5.0, first_ms=20.0, warmup_runs=10),
    )
    device = str(changes.get("device", "local"))
    return Entry(device=device, facts=Facts(**facts), observation=observation, machine_key=machine.key)


@dataclass
class Server:
    """A running sshd, and how to reach it."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    landing: Path  # TMPDIR of what it runs: where files of a measurement land

    @property
    def spec(self) -> str:
        return f"ssh:{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def client(self) -> str:
        """For $MFS_EDGE_SSH."""
        return f"ssh -F {self.folder / 'client'}"

    def configure(self, *, known_hosts: str = "known_hosts", key: str = "user_key") -> None:
        """Write the client's configuration."""
        (self.folder / "client").write_text(
            f"IdentityFile {self.folder / key}\nIdentitiesOnly yes\nStrictHostKeyChecking yes\n"
            f"UserKnownHostsFile {self.folder / known_hosts}\nGlobalKnownHostsFile /dev/null\n"
        )

    def sessions(self) -> list[int]:
        """Process ids of everything the server has started for its connections."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                children = [int(child) for child in task.read_text().split()]
                found += children
                todo += children
        return found

    def is_clean(self, *, within: float = 15.0) -> bool:
        """Whether everything of ours has been removed, by and by."""
        deadline = time.monotonic() + within
        while any(self.landing.glob("mfs-edge-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        return not any(self.landing.glob("mfs-edge-*"))


def keygen(path: Path) -> str:
    """A fresh key pair; the public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text()


def start_sshd(folder: Path, *, extra: str = "") -> Server:
    """An OpenSSH server on loopback with keys of its own."""
    subprocess.run([str(SETUP)], check=True, stdout=subprocess.DEVNULL)
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    host_key = keygen(folder / "host_key")
    (folder / "authorized_keys").write_text(keygen(folder / "user_key"))
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    (folder / "wrong_hosts").write_text(f"[127.0.0.1]:{port} {keygen(folder / 'other_host_key')}")
    (folder / "no_hosts").write_text("")
    keygen(folder / "stranger_key")
    landing = folder / "landing"
    landing.mkdir()
    (folder / "server").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host_key'}\nPidFile {folder / 'pid'}\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        f"KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSetEnv TMPDIR={landing}\n{extra}"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # privilege separation
    process = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "server")], stderr=subprocess.DEVNULL)
    server = Server(process, folder, port, landing)
    server.configure()
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        time.sleep(0.05)
    raise RuntimeError("sshd does not listen")


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = start_sshd(tmp_path)
    monkeypatch.setenv("MFS_EDGE_SSH", server.client)
    yield server
    server.process.terminate()
    server.process.wait()


@pytest.fixture
def full_sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Whatever it runs can write no file larger than 16 blocks, as on a disk with no more space than that."""
    server = start_sshd(tmp_path, extra='ForceCommand ulimit -f 16; exec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    monkeypatch.setenv("MFS_EDGE_SSH", server.client)
    yield server
    server.process.terminate()
    server.process.wait()


@pytest.fixture(scope="session")
def python() -> str:
    """An interpreter with the runtimes, as a device would have."""
    return sys.executable
