"""The C of random graphs of the family against onnxruntime, on every instruction set of this processor.

    python benchmarks/family.py --last 200

The tests take a few of them; this takes as many as are asked for, each told by its number.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, only this folder is on the path

from benchmarks import peerlib
from mfs_edge import target
from mfs_edge.base.errors import CheckFailed
from mfs_edge.graph.session import Session

engine: Any = importlib.import_module(target.get("c").engine)
tests: Any = importlib.import_module("tests.targets.native.test_family")
BOUND = 5e-5
SEED = 50000  # the graphs of the tests are others


@click.command(help=__doc__)
@click.option("--first", type=click.IntRange(0), default=0)
@click.option("--last", type=click.IntRange(1), default=200, help="One behind the last.")
@peerlib.told()
def main(first: int, last: int) -> None:
    engine.FLAGS = ("-O1", *(flag for flag in engine.FLAGS if flag != "-O3"))  # it compiles in a third of the time
    worst: dict[int, float] = {}
    for number in range(first, last):
        for cpu, error in errors(number).items():
            worst[cpu] = max(worst.get(cpu, 0.0), error)
            if error > BOUND:
                click.echo(f"graph {number} on instruction set {cpu}: off by {error:.3g}")
        if (number + 1 - first) % 10 == 0:
            click.echo(f"{number + 1 - first} graphs, at most {_told(worst)}")
    click.echo(f"{last - first} graphs, {len(worst)} instruction sets: at most {_told(worst)}")
    if max(worst.values()) > BOUND:
        raise CheckFailed(f"the C is off by more than {BOUND:g}")


def errors(number: int) -> dict[int, float]:
    """The largest difference of graph ``number``, by instruction set."""
    rng = np.random.default_rng(SEED + number)
    size = int(32 * rng.integers(1, 9))
    encoder, decoder, mask = ([int(n) for n in rng.integers(*span)] for span in ((3, 100, 5), (3, 100, 4), (2, 48, 5)))
    model = tests.Builder(number, size).model(encoder, decoder, mask, int(rng.integers(3, 24)))
    image = rng.random((1, 3, size, size), dtype=np.float32)
    expected = Session(model).run({"image": image})
    found, kind = {}, target.get("c")
    with tempfile.TemporaryDirectory() as room:
        os.environ["MFS_EDGE_CACHE"] = room
        kind.emit(model, Path(room, "a.idn"), target.EmitOptions())
        for cpu in range(engine.Engine(str(Path(room, "a.idn")), threads=1).model.cpu + 1):
            os.environ["MFS_EDGE_IDN_CPU"] = str(cpu)
            outputs = kind.load(Path(room, "a.idn"), threads=1 + number % 3).run(image)
            found[cpu] = max(float(np.abs(outputs[name] - expected[name]).max()) for name in expected)
        del os.environ["MFS_EDGE_IDN_CPU"]
    return found


def _told(worst: dict[int, float]) -> str:
    return ", ".join(f"{error:.2g} ({cpu})" for cpu, error in sorted(worst.items()))


if __name__ == "__main__":
    main()
