"""An ``adb`` with a real shell behind it: the state of a device is a folder, its storage another.

``$FAKE_ADB`` names the folder. ``scenario.json`` in it says what happens; ``storage`` is the
device's ``/data/local/tmp``, ``sys`` its ``/sys``, ``bin`` what an Android has besides a shell; every
command is appended to ``log``. Commands are run by ``sh -c``, so what is not quoted does what
it says. Messages and exit codes are those of platform-tools 34 and an Android 13 shell.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ["FAKE_ADB"])
SCENARIO = json.loads((STATE / "scenario.json").read_text())
STORAGE = STATE / "storage"
ROOM = "/data/local/tmp"  # the shell user may execute files there
UNAUTHORIZED = """error: device unauthorized.
This adb server's $ADB_VENDOR_KEYS is not set
Try 'adb kill-server' if that seems wrong.
Otherwise check for a confirmation dialog on your device."""


def on_device(path: str) -> Path:
    return STORAGE / path.removeprefix(ROOM).lstrip("/")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def fail(message: str, code: int = 1) -> int:
    sys.stderr.write(f"{message}\n")
    return code


def push(local: str, remote: str) -> int:
    target = on_device(remote)
    if not target.parent.is_dir():
        why = "remote couldn't create file: No such file or directory"
        return fail(f"adb: error: failed to copy '{local}' to '{remote}': {why}")
    if SCENARIO.get("full"):
        return fail(f"adb: error: failed to copy '{local}' to '{remote}': remote write failed: No space left on device")
    shutil.copyfile(local, target)
    size = target.stat().st_size
    say(f"{local}: 1 file pushed, 0 skipped. 33.1 MB/s ({size} bytes in 0.058s)")
    return 0


def shell(words: list[str]) -> int:
    """As adb does: the words joined by blanks, for the device's shell to split anew."""
    command = " ".join(words).replace(ROOM, str(STORAGE)).replace("/sys/", f"{STATE}/sys/")
    environment = {"PATH": f"{STATE / 'bin'}:/usr/bin:/bin", "FAKE_ADB": str(STATE)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and a shell cannot trap it; not so there
    gone = SCENARIO.get("unplugged") and "./runner" in command
    heard = subprocess.DEVNULL if gone else None
    done = subprocess.run(["sh", "-c", command], cwd=STATE, env=environment, stdout=heard, check=False)
    return 255 if gone else done.returncode


def main(words: list[str]) -> int:
    if words[:1] == ["-s"]:
        if words[1] != SCENARIO.get("serial", words[1]):
            return fail(f"error: device '{words[1]}' not found")
        words = words[2:]
    elif SCENARIO.get("devices", 1) != 1:
        none = SCENARIO["devices"] == 0
        return fail("error: no devices/emulators found" if none else "error: more than one device/emulator")
    with (STATE / "log").open("a") as log:
        log.write(json.dumps(words) + "\n")
    state = SCENARIO.get("get-state", "device")
    if state == "unauthorized":
        return fail(UNAUTHORIZED)
    if state == "offline":
        return fail("error: device offline")
    if state.startswith("error: "):
        return fail(state)
    if words == ["get-state"]:
        say(state)
        return 0
    return push(*words[1:]) if words[0] == "push" else shell(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
