"""One process compiles again and again, as a service would."""

from __future__ import annotations

from pathlib import Path

import mfs_edge
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity

RUNS = 40
GROWTH = 50 * 2**20  # bytes; one network is 2 MB


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_memory_does_not_grow_with_every_compile(
    demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path
) -> None:
    def compile(number: int) -> None:
        identity = demo_identities[number % len(demo_identities)]
        mfs_edge.compile(
            identity=identity, checkpoint=demo_iin, target=["onnx", "tflite"], size=32, out=tmp_path, verify=False
        )

    for number in range(5):  # what is imported and cached
        compile(number)
    before = resident()
    for number in range(RUNS):
        compile(number)
    assert resident() - before < GROWTH
    assert len(list(tmp_path.iterdir())) == 3  # nothing is left behind
