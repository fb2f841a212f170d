"""A device reached by plain OpenSSH: a Raspberry Pi, a Jetson, a Mac.

One connection per measurement carries everything: the agent as the remote command, the
artefact and the runner on standard input, results on standard output. No file transfer
protocol is needed there, only a Python with numpy and the runtime. ssh's own configuration
(keys, jump hosts, host keys) is the user's; ``$MFS_EDGE_SSH`` replaces the command ``ssh``,
options included, as ``GIT_SSH_COMMAND`` does for git.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shlex
import shutil
from pathlib import Path
from typing import IO

from mfs_edge import target
from mfs_edge.base.errors import DeviceError, MfsEdgeError, MissingDependency
from mfs_edge.base.reasons import reason_in
from mfs_edge.measure import agent, luggage
from mfs_edge.measure.devices import Device, Options, Request, Watch, device, talk
from mfs_edge.measure.devices.address import parse
from mfs_edge.measure.observed import Observation

VARIABLE = "MFS_EDGE_SSH"
_FAILED = 255  # ssh's own exit code; anything else is the remote command's
_NOT_FOUND = 127
_FOLDER = "artefact"
_ANSWER = "@machine "
_QUESTION = (
    "import json, platform, struct; print('@machine ' + json.dumps({'system': platform.system(), "
    "'machine': platform.machine(), 'bits': 8 * struct.calcsize('P'), 'libc': platform.libc_ver()[0]}))"
)
_OPTIONS = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")
# What OpenSSH says -> what is wrong, and what to do.
_REASONS = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key has changed; if that is right: ssh-keygen -R {known}"),
    ("Host key verification failed", "its host key is not known here; connect once by hand: ssh {there}"),
    ("Permission denied", "it refuses the login; set up a key with: ssh-copy-id {there}"),
    ("Too many authentication failures", "it refuses the login; name the right key in ~/.ssh/config"),
    ("Could not resolve hostname", "there is no host of this name; check the spelling and the network"),
    ("Connection refused", "nothing listens there; start its ssh server, or check the port"),
    ("timed out", "it does not answer; wake it up and check the network"),
    ("No route to host", "it cannot be reached; check the network"),
    ("Network is unreachable", "it cannot be reached; check the network"),
)


class SshDevice:
    """See ``devices.Device``."""

    whole_frames = every_stage = True

    def __init__(self, address: str, *, python: str) -> None:
        self.address = parse(address)
        self.name = f"ssh:{address}"
        self.host = self.address.host
        self.python = python.removeprefix("~/")  # ssh starts in the home folder, and quoting keeps ~ as it is
        self.command = shlex.split(os.environ.get(VARIABLE, "ssh"))
        self.options = [word for option in _OPTIONS for word in ("-o", option)]
        if self.address.port:
            self.options += ["-p", self.address.port]

    def check(self) -> None:
        if not self.command or shutil.which(self.command[0]) is None:
            raise MissingDependency(f"{self.name}: ssh is not installed here; install the OpenSSH client")
        ended = talk.converse(self._ssh(self.python, "-c", "import sys; print(sys.version)"), Watch())
        if ended.code != 0:
            raise self._lost(ended, doing="connecting")

    def refuses(self, artefact: Path) -> str | None:
        return None

    def measure(self, artefact: Path, request: Request, watch: Watch) -> Observation:
        source = base64.b64encode(Path(agent.__file__).read_bytes()).decode()
        remote = self._ssh(self.python, "-c", f"import base64;exec(base64.b64decode('{source}'))")
        header, sent = self._packed(artefact, request)  # what is wrong with the file is found before anything is sent

        def feed(pipe: IO[bytes]) -> None:
            for content in (json.dumps(header).encode() + b"\n", *sent):
                pipe.write(content)

        ended = talk.converse(remote, watch, feed=feed)
        if ended.result is None and ended.error is None:
            raise self._lost(ended, doing=f"measuring {artefact.name}")
        return talk.observation(ended, where=self.name, artefact=artefact.name, frame=request.frame)

    def _machine(self) -> target.Machine:
        """What is there, to be compiled for."""
        heard: list[str] = []
        ended = talk.converse(self._ssh(self.python, "-c", _QUESTION), Watch(), hear=heard.append)
        found = [
            line.removeprefix(_ANSWER) for line in heard if line.startswith(_ANSWER)
        ]  # beside what a shell greets with
        if ended.code != 0 or not found:
            raise self._lost(ended, doing="asking what machine it is")
        return target.Machine(**json.loads(found[-1]))

    def _ssh(self, *words: str) -> list[str]:
        return [*self.command, *self.options, "--", self.address.target, talk.shell(*words)]

    def _packed(self, artefact: Path, request: Request) -> tuple[dict[str, object], list[bytes]]:
        """What the agent is told, and the files that follow."""
        taken = luggage.pack(artefact, request.switched.get(artefact), request.frame, request.finders)
        # In a folder of its own: whatever its name, it is none of ours and no option.
        machine = self._machine() if target.of_file(artefact).compiled else None
        members = {f"{_FOLDER}/{name}": content for name, content in luggage.contents(artefact, machine).items()}
        sent = {**taken.files, **members}
        header = {
            "files": [[name, len(content), hashlib.sha256(content).hexdigest()] for name, content in sent.items()],
            "argv": ["runner.py", *talk.arguments(f"{_FOLDER}/{artefact.name}", taken, request)],
        }
        return header, list(sent.values())

    def _lost(self, ended: talk.Ended, *, doing: str) -> MfsEdgeError:
        """Why a connection ended without a result."""
        if ended.code == _NOT_FOUND:
            return MissingDependency(
                f"{self.name}: has no {self.python}; install Python 3.9 or newer there, or name one with --python PATH"
            )
        for words, reason in _REASONS:
            if ended.code == _FAILED and words in ended.words:
                port = f"-p {self.address.port} " if self.address.port else ""
                hint = reason.format(known=shlex.quote(self.address.known_as), there=f"{port}{self.address.target}")
                return DeviceError(f"{self.name}: {hint}")
        last = reason_in(ended.words.splitlines()) if ended.words else f"exit code {ended.code}"
        if ended.code == _FAILED:
            return DeviceError(
                f"{self.name}: the connection broke off while {doing} ({last}); nothing was recorded, and the device "
                "removes by itself what was copied to it: check its power and network, then try again"
            )
        return DeviceError(f"{self.name}: its Python ended while {doing} ({last}); nothing was recorded, try again")


@device("ssh", "ssh:USER@HOST[:PORT]")
def open_ssh(address: str, options: Options) -> Device:
    return SshDevice(address, python=options.python or "python3")
