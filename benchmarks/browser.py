"""A page of a race, served to a Chromium without a window: it asks for files, and sends back times and outputs."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections import defaultdict
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base.errors import CheckFailed, MissingDependency

PATIENCE_S = 600
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage")


@dataclass(frozen=True)
class Page:
    """What a race gave.

    Attributes:
        browser: Chromium's name and version.
        load: the machine's load average (one minute) before and after.
        times: [contenders, turns], milliseconds.
        outputs: per contender, flat, by name.
    """

    browser: str
    load: tuple[float, float]
    times: np.ndarray
    outputs: dict[int, dict[str, np.ndarray]]


class Server(ThreadingHTTPServer):
    """Serves a folder, and keeps what its page sends."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.outputs: dict[int, dict[str, np.ndarray]] = defaultdict(dict)
        self.told: dict[str, Any] = {}
        self.done = threading.Event()


class Handler(SimpleHTTPRequestHandler):
    """POST /outputs/<contender>/<name> takes float32 values, POST /done the times."""

    server: Server

    def end_headers(self) -> None:
        """Isolated, a page's clock ticks in steps of 5 us instead of 100."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        _, what, *rest = self.path.split("/")
        if what == "outputs":
            self.server.outputs[int(rest[0])][rest[1]] = np.frombuffer(body, np.float32)
        else:
            self.server.told = json.loads(body)
            self.server.done.set()
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a request is not news."""


def opened(folder: Path, contenders: list[dict[str, Any]], *, turns: int, chromium: str) -> Page:
    """Run the page in ``folder`` on these contenders until it is done.

    Raises:
        MissingDependency: there is no such Chromium.
        CheckFailed: it ended, or took too long, or the page reports an error.
    """
    program = shutil.which(chromium)
    if program is None:
        raise MissingDependency(f"{chromium} is not found; install it (apt-get install chromium), or name another")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    race = {"contenders": contenders, "turns": turns, "warmup": max(turns // 3, 10)}
    (folder / "race.json").write_text(json.dumps(race))
    before = os.getloadavg()[0]
    with Server(folder) as server, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [program, *FLAGS, f"--user-data-dir={profile}", f"http://localhost:{server.server_port}/"]
        _until_done(command, server)
        server.shutdown()
    if "error" in server.told:
        raise CheckFailed(f"the page in {version}: {server.told['error']}")
    return Page(version, (before, os.getloadavg()[0]), np.array(server.told["times"]), server.outputs)


def _until_done(command: list[str], server: Server) -> None:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            for _ in range(PATIENCE_S):
                if server.done.wait(1):
                    return
                if browser.poll() is not None:
                    raise CheckFailed(f"{command[0]} ended with code {browser.returncode} before its page was done")
            raise CheckFailed(f"{command[0]}: the page was not done within {PATIENCE_S} s")
        finally:
            browser.terminate()
