"""What ssh starts on a device: receive files, run the runner, leave nothing behind.

It travels as an argument of ``python3 -c`` and needs the standard library of Python 3.9.
Standard input brings one JSON line (``files``: [name, bytes, sha256], ``argv``), then the
files' contents, and stays open as a sign of life: when it ends early the connection is
lost, and this process stops the runner and removes its folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

PREFIX = "@mfs-edge "


class Stopped(BaseException):
    """A signal, or the connection's end."""


def stop(*_: Any) -> None:
    raise Stopped


def emit(**event: Any) -> None:
    sys.stdout.write(PREFIX + json.dumps(event) + "\n")
    sys.stdout.flush()


def receive(folder: Path, wanted: list[list[Any]]) -> None:
    """Write the files, each checked against its hash."""
    for name, size, digest in wanted:
        path = folder / name
        if ".." in path.parts or folder not in path.parents:
            raise OSError(f"{name} lies outside of the folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        found = hashlib.sha256()
        with path.open("wb") as file:
            while size:
                block = sys.stdin.buffer.read(min(size, 1 << 16))
                if not block:
                    raise Stopped
                size -= len(block)
                found.update(block)
                file.write(block)
        if found.hexdigest() != digest:
            raise OSError(f"{name} arrived damaged")


def watch_connection() -> None:
    """os.read: a thread that sits in sys.stdin's own lock would stall the exit of the interpreter."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def run(folder: Path, argv: list[str]) -> int:
    child = subprocess.Popen([sys.executable, *argv], cwd=folder, stdin=subprocess.DEVNULL)
    try:
        code = child.wait()
        if code < 0:
            memory = ", most likely out of memory" if code == -signal.SIGKILL else ""
            emit(event="error", kind="died", message=f"the runner was ended by signal {-code}{memory}")
        return abs(code)
    finally:
        child.kill()
        child.wait()


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    folder = None
    try:
        header = json.loads(sys.stdin.buffer.readline())
        folder = Path(tempfile.mkdtemp(prefix="mfs-edge-"))
        receive(folder, header["files"])
        threading.Thread(target=watch_connection, daemon=True).start()
        return run(folder, header["argv"])
    except OSError as error:
        full = error.errno in (27, 28, 122)  # EFBIG, ENOSPC, EDQUOT
        emit(event="error", kind="full" if full else "device", message=error.strerror or str(error))
        return 1
    except Stopped:
        return 1
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # cleaning up comes first
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
