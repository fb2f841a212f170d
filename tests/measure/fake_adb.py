"""An ``adb`` that replays transcripts: the state of a device is a folder, its storage another.

``$FAKE_ADB`` names the folder. ``scenario.json`` in it says what happens; ``storage`` is the
device's ``/data/local/tmp``; every command is appended to ``log``. Messages and exit codes are
those of platform-tools 34 and an Android 13 shell.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

STATE = Path(os.environ["FAKE_ADB"])
SCENARIO = json.loads((STATE / "scenario.json").read_text())
STORAGE = STATE / "storage"
TRANSCRIPTS = Path(__file__).parent / "transcripts"
ROOM = "/data/local/tmp"
UNAUTHORIZED = """error: device unauthorized.
This adb server's $ADB_VENDOR_KEYS is not set
Try 'adb kill-server' if that seems wrong.
Otherwise check for a confirmation dialog on your device."""
PROPERTIES = {
    **{"maker": "Google", "model": "Pixel 7", "soc": "GS201", "release": "13", "abi": "arm64-v8a", "cores": "8"},
    "governor": "sched_pixel",
}


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


def run_tool(command: str) -> int:
    """``trap ...; cd FOLDER && [taskset MASK] ./runner ... 2>&1; code=$?; cat RESULTS; echo mfs-edge-exit=$code``"""
    folder = re.search(r"cd (\S+) &&", command)
    graph = re.search(r"--graph=(\S+)", command) or re.search(r"(\S+\.onnx) results.csv 2>&1", command)
    assert folder
    assert graph
    there = on_device(folder.group(1))
    if not (there / "runner").exists() or not (there / graph.group(1)).exists():
        say("/system/bin/sh: ./runner: No such file or directory\nmfs-edge-exit=127")
        return 0
    name = SCENARIO["profile"] if "--enable_op_profiling" in command else SCENARIO["transcript"]
    for written in ("txt", "csv"):
        if (TRANSCRIPTS / f"{name}.{written}").exists():
            sys.stdout.write((TRANSCRIPTS / f"{name}.{written}").read_text())
    sys.stdout.flush()
    if SCENARIO.get("unplugged"):
        SCENARIO["get-state"] = "offline"
        (STATE / "scenario.json").write_text(json.dumps(SCENARIO))
        shutil.rmtree(there)  # adbd hangs up the shell, whose trap cleans up
        return 255
    if SCENARIO.get("hangs"):
        time.sleep(60)
    say(f"mfs-edge-exit={SCENARIO.get('exit', 0)}")
    return 0


def shell(command: str) -> int:
    if command.startswith("mkdir -p "):
        on_device(command.split()[-1]).mkdir(parents=True)
    elif command.startswith("rm -rf "):
        shutil.rmtree(on_device(command.split()[-1]), ignore_errors=True)
    elif "./runner" in command:
        return run_tool(command)
    elif "getprop" in command:
        say("\n".join(f"{name}={value}" for name, value in PROPERTIES.items()))
    elif "thermal_zone" in command:
        say("-274000\n36500\n41200")
    elif not command.startswith("chmod 755 "):
        return fail(f"/system/bin/sh: {command.split()[0]}: inaccessible or not found", 127)
    return 0


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
    if words == ["get-state"]:
        say("device")
        return 0
    return push(*words[1:]) if words[0] == "push" else shell(words[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
