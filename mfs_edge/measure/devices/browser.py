"""A browser on this machine: headless Chromium, and a page in it that measures as the runner does.

The page, the artefact and what it is asked come from a server on loopback, and what it found goes back
there; nothing else is installed or driven. What the page runs are the artefact's own files.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge import target
from mfs_edge.base import files, frames
from mfs_edge.base.errors import MissingDependency
from mfs_edge.base.serving import Server
from mfs_edge.measure import chromium, luggage, machine
from mfs_edge.measure.devices import THIS_MACHINE, Cancelled, Device, Options, Request, Watch, device, talk
from mfs_edge.measure.observed import Observation
from mfs_edge.program import Program, Tensor
from mfs_edge.sample import probe

HERE = Path(__file__).parent
PAGE = {"index.html": HERE / "browser.html", "browser.js": HERE / "browser.js"}
# Isolated from other pages, a page's clock ticks in steps of 5 us instead of 100; what is measured needs none of it.
HEADERS = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
ARTEFACT, SWITCHED = "artefact", "switched"  # folders
ONE_THREAD = "a browser computes on one thread"


class BrowserDevice:
    """See ``devices.Device``."""

    host = THIS_MACHINE

    def __init__(self, named: str) -> None:
        self.name = f"browser:{named}" if named else "browser"
        self.named = named

    def check(self) -> None:
        chromium.version(chromium.found(self.named))

    def refuses(self, artefact: Path) -> str | None:
        if target.of_file(artefact).script:
            return None
        return f"browsers run {', '.join(_suffixes())} artefacts; compile one with --target web"

    def measure(self, artefact: Path, request: Request, watch: Watch) -> Observation:
        program = chromium.found(self.named)
        kind = target.of_file(artefact)
        held = kind.vouch(artefact)
        heard = _Heard(watch)
        with files.temporary_folder() as folder:
            _pack(folder, artefact, kind.script, held, request)
            with Server(folder, headers=HEADERS, receive=heard.receive).running() as server:
                chromium.visit(
                    program, server.url, done=heard.done, stopped=heard.stopped, before=_bound(request.cpus),
                    patience_s=talk.STALL + 4 * (request.seconds + request.warmup_seconds),
                )  # fmt: skip
        ended = talk.Ended(0, heard.result(held, chromium.version(program), request), heard.error, "")
        seen = talk.observation(ended, where=self.name, artefact=artefact.name)
        return seen.model_copy(update={"notes": (*seen.notes, *heard.notes(request))})


class _Heard:
    """What the page posts: how far it is, arrays, and its result or an error."""

    def __init__(self, watch: Watch) -> None:
        self.watch, self.done = watch, threading.Event()
        self.told: dict[str, Any] = {}
        self.arrays: dict[str, bytes] = {}

    def receive(self, path: str, body: bytes) -> None:
        match path.strip("/").split("/"):
            case ["progress"]:
                said = json.loads(body)
                self.watch.tell(said["done"], said["left_s"])
            case ["output", name]:
                self.arrays[name] = body
            case ["done"]:
                self.told = json.loads(body)
                self.done.set()

    def stopped(self) -> None:
        if self.watch.cancelled.is_set():
            raise Cancelled

    @property
    def error(self) -> dict[str, Any] | None:
        return self.told.get("error")

    def result(self, held: Program, browser: tuple[str, str], request: Request) -> dict[str, Any] | None:
        """As the runner tells it; None where the page failed."""
        if self.error:
            return None
        return {
            **self.told["result"],
            "picture": self._picture(held.gives),
            "peak_rss_bytes": None,
            "coverage": None,
            "temperature_c": [None, None],
            "machine": {
                "cpu": machine.cpu_model(), "cores": os.cpu_count() or 1, "governor": machine.governor(),
                "os": machine.system(), "arch": platform.machine(), "runtime": browser[0],
                "runtime_version": browser[1], "threads": 1, "cpus": request.cpus,
            },
        }  # fmt: skip

    def _picture(self, gives: tuple[Tensor, ...]) -> dict[str, Any]:
        found = {
            tensor.name: np.frombuffer(self.arrays[tensor.name], tensor.dtype).reshape(tensor.shape) for tensor in gives
        }
        told = frames.as_told(found)
        rows, columns = probe.places(told["mask"].shape[2]).T
        return {name: value[0, :, rows, columns].tolist() for name, value in told.items()}

    def notes(self, request: Request) -> list[str]:
        """What only a browser has to say."""
        more = [f"{ONE_THREAD}, whatever --threads says"] if (request.threads or 1) > 1 else []
        return [f"it computed {self.told['result']['execution']}", *more]


def _pack(folder: Path, artefact: Path, script: str, held: Program, request: Request) -> None:
    """The page, the artefact, the picture that it is fed with, and what it is asked."""
    for name, source in PAGE.items():
        shutil.copyfile(source, folder / name)
    _write(folder / ARTEFACT, luggage.contents(artefact), artefact)
    switched = request.switched.get(artefact) or {}
    _write(folder / SWITCHED, switched, artefact)
    (takes,) = held.takes
    given = frames.as_taken(probe.picture(luggage.picture_size(held) or 0), takes.shape, takes.dtype)
    (folder / "picture").write_bytes(given.tobytes())
    asked = {
        "script": f"{ARTEFACT}/{script}", "folder": f"{ARTEFACT}/", "type": takes.dtype,
        "switched": [Path(name).relative_to(artefact.name).as_posix() for name in switched],
        **{name: getattr(request, name) for name in ("warmup", "warmup_seconds", "runs", "seconds", "profile")},
    }  # fmt: skip
    (folder / "asked.json").write_text(json.dumps(asked))


def _write(folder: Path, contents: Any, artefact: Path) -> None:
    for name, content in contents.items():
        file = folder / Path(name).relative_to(artefact.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _bound(cpus: tuple[int, ...]) -> tuple[str, ...]:
    """The command that binds what it starts to these CPUs."""
    if not cpus:
        return ()
    if shutil.which("taskset") is None:
        raise MissingDependency(
            "browser: --cpu-mask needs taskset, which is not found; install it (apt-get install util-linux)"
        )
    return ("taskset", "--cpu-list", ",".join(map(str, cpus)))


def _suffixes() -> list[str]:
    return [kind.suffix for kind in target.registered().values() if kind.script]


@device("browser", "browser[:PROGRAM]")
def open_browser(address: str, options: Options) -> Device:
    return BrowserDevice(address)
