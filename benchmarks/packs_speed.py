"""How long packs take: from ``id.npy`` to a pack, and from a pack to an artefact.

    python benchmarks/packs_speed.py [--identities 1000] [--jobs 2] [--target onnx] [--precision fp32] [--json FILE]

The identities are drawn at random, the base is the demo's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

import mfs_edge
from mfs_edge import pack as packs
from mfs_edge import sample
from mfs_edge.sample import weights

APPLIED = 50  # packs


def draw(folder: Path, count: int) -> None:
    """``count`` files that are read as identities."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        np.save(folder / f"{number:05}.npy", random.normal(size=25600).astype(np.float32))


def applying(base: Path, made: tuple[Path, ...], out: Path) -> list[float]:
    """Milliseconds of each; a file is written, to the disk."""
    found = []
    for pack in made[:APPLIED]:
        start = time.perf_counter()
        packs.apply(base, pack, out, overwrite=True)
        found.append(1000 * (time.perf_counter() - start))
    return found


def measured(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """One run, first to last."""
    persons = [weights.identity(number) for number in range(min(2, sample.IDENTITIES))]
    base = folder / "base"
    compiled = mfs_edge.compile(
        identities=persons, target=given.target, precision=given.precision, out=base, verify=False
    )
    (record,) = compiled.manifest.artefacts
    draw(folder / "people", given.identities)
    start = time.perf_counter()
    made = packs.make(base=base, identities=folder / "people", out=folder / "packs", jobs=given.jobs)
    seconds = time.perf_counter() - start
    again = time.perf_counter()
    kept = packs.make(base=base, identities=folder / "people", out=folder / "packs", jobs=given.jobs)
    applied = applying(base / record.file, made.packs, folder / f"new{Path(record.file).suffix}")
    return {
        "target": record.target,
        "precision": record.precision,
        "identities": given.identities,
        "jobs": given.jobs,
        "packs": len(made.packs),
        "bytes": made.packs[0].stat().st_size,
        "make_s": seconds,
        "make_ms_each": 1000 * seconds * given.jobs / given.identities,
        "kept": kept.kept,
        "kept_s": time.perf_counter() - again - sum(applied) / 1000,
        "apply_ms": statistics.median(applied),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--identities", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--target", default="onnx")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), given)
    click.echo(
        "{target} {precision}: {packs} packs of {bytes:,} bytes in {make_s:.1f} s by {jobs} processes, "
        "{make_ms_each:.1f} ms each; kept {kept} in {kept_s:.1f} s; applied in {apply_ms:.2f} ms".format(**found)
    )
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
