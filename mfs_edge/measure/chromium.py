"""A page in a Chromium without a window: started afresh, watched, and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mfs_edge.base.errors import DeviceError, MissingDependency
from mfs_edge.base.reasons import reason_in

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
APPLE = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
# Nothing is looked for in the network, and nothing of the user's is read or kept.
FLAGS = (
    "--headless=new", "--disable-gpu", "--no-first-run", "--no-default-browser-check", "--disable-quic",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-dev-shm-usage", "--disable-features=Translate,MediaRouter,OptimizationHints",
)  # fmt: skip
_POLL = 0.1
_GRACE = 5.0


def found(named: str = "") -> str:
    """The browser's program: the one ``named``, or the first that is installed.

    Raises:
        MissingDependency: there is none.
    """
    for name in (named,) if named else (*NAMES, APPLE):
        if program := shutil.which(name):
            return program
    what = f"{named} is not found" if named else "no Chromium, Chrome or Edge is found"
    raise MissingDependency(f"{what}; install one (apt-get install chromium), or name it: --device browser:PROGRAM")


def version(program: str) -> tuple[str, str]:
    """Its name and version, such as ("Chromium", "156.0.8078.114").

    Raises:
        DeviceError: it does not tell.
    """
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, errors="replace", timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceError(f"{program}: cannot be started ({error}); name another browser") from error
    told = re.search(r"^\s*(\D+?)\s+(\d+(?:\.\d+)+)", done.stdout, re.MULTILINE)
    if told is None:
        raise DeviceError(f"{program}: does not say which Chromium it is; name another: --device browser:PROGRAM")
    return told[1], told[2]


def visit(
    program: str,
    url: str,
    *,
    done: threading.Event,
    stopped: Callable[[], None] = lambda: None,
    patience_s: float = 600,
    flags: Sequence[str] = (),
    before: Sequence[str] = (),
) -> None:
    """Open ``url`` and wait until the page is done.

    Args:
        done: is set by whoever the page tells.
        stopped: called all the time; raises to stop.
        flags: for Chromium, beside ours.
        before: a command that starts it, such as taskset's.

    Raises:
        DeviceError: it ended by itself, or the page was not done in time.
    """
    with _started([*before, program, *FLAGS, *_sandbox(), *flags], url) as (process, errors):
        end = time.monotonic() + patience_s
        while not done.wait(_POLL):
            stopped()
            if process.poll() is not None:
                words = reason_in(errors.read_bytes()[-4000:].decode(errors="replace").splitlines())
                raise DeviceError(f"{program} ended before its page was done (exit code {process.returncode}: {words})")
            if time.monotonic() > end:
                raise DeviceError(f"{program}: its page was not done within {patience_s:.0f} s; nothing was recorded")


@contextlib.contextmanager
def _started(command: Sequence[str], url: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The browser, in a profile of its own; all of its processes are ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="mfs-edge-", ignore_cleanup_errors=True) as profile:
        words = Path(profile, "stderr")
        with words.open("wb") as errors:
            process = subprocess.Popen(
                [*command, f"--user-data-dir={profile}", url],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                start_new_session=True,  # Ctrl-C reaches us alone; its processes are one group
            )  # fmt: skip
        try:
            yield process, words
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE)
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _sandbox() -> tuple[str, ...]:
    """Chromium refuses to start as root with its sandbox, as in most containers."""
    return ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
