"""Many compiles in one process: memory stays, and nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mfs_edge.load import identity as identities
from mfs_edge.load.identity import Identity

RUNS = 40
GROWTH = 50 * 2**20  # bytes; a leaked graph of this size is 2 MB a run
# In a process of its own: the heap of one that has run other tests grows and shrinks by more than that.
CHILD = """
import sys
from pathlib import Path
import mfs_edge
from mfs_edge.sample import weights

who, out, runs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
checkpoint = weights.checkpoint("iin")

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

for number in range(runs + 10):
    if number == 10:  # what is imported and cached
        before = resident()
    mfs_edge.compile(
        identity=who / f"{number % 2}.npy", checkpoint=checkpoint, target=["onnx", "tflite"], size=32, out=out,
        verify=False,
    )
print(resident() - before)
"""


def test_memory_does_not_grow_with_every_compile(demo_identities: list[Identity], tmp_path: Path) -> None:
    for number in range(2):
        identities.save(demo_identities[number], tmp_path / f"{number}.npy")
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(tmp_path / "out"), str(RUNS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(done.stderr)
    assert int(done.stdout.split()[-1]) < GROWTH
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"idn-32-fp32.base", "idn-32-fp32.onnx", "idn-32-fp32.tflite", "manifest.json"}
