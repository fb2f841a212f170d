"""Races an fp32 and an int8 artefact of one format, one thread, in a process whose instructions can be limited.

Arguments: the fp32 artefact, the int8 one, pictures (.npy, float32 [N, 3, S, S] in 0..1), and the
.npz to write what the int8 one makes of them to ([N, 1, C, S, S] per output). Prints one line of JSON:
"fp32, ms", "int8, ms" and "int8 times as fast".
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # run as a script, only this folder is on the path

# ruff: noqa: E402
from benchmarks import peerlib
from mfs_edge import target

RUNS = 60


def main() -> None:
    fp32, int8, pictures, into = map(Path, sys.argv[1:])
    frames = list(np.load(pictures))
    paths = {"fp32": fp32, "int8": int8}
    runners = {name: target.of_file(path).load(path, threads=1) for name, path in paths.items()}
    calls = {name: _call(runner, frames[0]) for name, runner in runners.items()}
    found = peerlib.race(calls, runs=RUNS, warmup=RUNS // 6)
    outputs = [runners["int8"].run(frame) for frame in frames]
    stacked: dict[str, Any] = {name: np.stack([one[name] for one in outputs]) for name in outputs[0]}
    np.savez(into, **stacked)
    times = {f"{name}, ms": str(found.timing(name)) for name in calls}
    print(json.dumps(times | {"int8 times as fast": round(found.ratio("fp32", "int8")[0], 2)}))  # noqa: T201


def _call(runner: target.Runner, frame: np.ndarray) -> Callable[[], object]:
    return lambda: runner.run(frame)


if __name__ == "__main__":
    main()
