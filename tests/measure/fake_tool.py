"""A benchmark tool on the fake phone: replays a transcript of a real one, and notes what it was asked.

It finds the file that it is told to run, as a real one does, and says so where it is not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

STATE = Path(os.environ["FAKE_ADB"])
SCENARIO = json.loads((STATE / "scenario.json").read_text())
TRANSCRIPTS = Path(__file__).parent / "transcripts"


def graph(words: list[str]) -> str:
    """benchmark_model has a flag for it, onnxruntime_perf_test takes it before the file of its results."""
    named = [word.removeprefix("--graph=") for word in words if word.startswith("--graph=")]
    return named[0] if named else words[-2]


def beside(folder: Path) -> dict[str, str]:
    """What the graph's folder holds, as a runtime finds it there: name -> SHA-256."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main(words: list[str]) -> int:
    with (STATE / "ran").open("a") as log:
        log.write(json.dumps(words) + "\n")
    if not Path(graph(words)).is_file():
        sys.stderr.write(f"Failed to mmap model {graph(words)}\n")
        return 1
    with (STATE / "held").open("a") as log:
        log.write(json.dumps(beside(Path(graph(words)).parent)) + "\n")
    name = SCENARIO["profile"] if "--enable_op_profiling=true" in words else SCENARIO["transcript"]
    sys.stdout.write((TRANSCRIPTS / f"{name}.txt").read_text())
    sys.stdout.flush()
    if (TRANSCRIPTS / f"{name}.csv").exists():
        Path(words[-1]).write_text((TRANSCRIPTS / f"{name}.csv").read_text())
    if SCENARIO.get("unplugged"):
        (STATE / "scenario.json").write_text(json.dumps({**SCENARIO, "get-state": "offline"}))
        os.kill(os.getppid(), signal.SIGHUP)  # adbd hangs the shell up, whose trap cleans up
    if SCENARIO.get("hangs"):
        time.sleep(60)
    return int(SCENARIO.get("exit", 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
