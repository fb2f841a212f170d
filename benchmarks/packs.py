"""How well a base suits identities that it has not seen: PSNR against each one's own reference.

    python benchmarks/packs.py [--precision fp32 fp16 int8] [--identities 100] [--base 16] [--json FILE]

A base is made over so many drawn faces, and others are put into it; beside it, each identity compiled
alone. Both are judged against the plain network of that identity, on pictures that calibrated neither.
The faces are the demo's and their mirror images, read by the demo's ArcFace.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx_ir as ir

from mfs_edge import precisions, sample
from mfs_edge.base.fidelity import Outputs, psnr
from mfs_edge.base.progress import Recorded
from mfs_edge.face.crop import arcface_input
from mfs_edge.fold import FoldedIDN, fold
from mfs_edge.graph import build
from mfs_edge.load.embed import Embedder
from mfs_edge.quantize import calibration, execute, people
from mfs_edge.sample import weights

SIZE = 224
JUDGED_ON = 8  # pictures
OUTPUTS = ("swapped", "mask")


def faces() -> Iterator[tuple[str, np.ndarray]]:
    """Names and pictures: identities first, then targets, then all of them mirrored."""
    drawn = [(f"identity {i}", sample.identity_picture(i)) for i in range(sample.IDENTITIES)]
    drawn += [(f"target {i}", sample.target(i)) for i in range(sample.TARGETS)]
    yield from drawn
    for name, picture in drawn:
        yield f"{name}, mirrored", np.ascontiguousarray(picture[:, ::-1])


def folded(count: int) -> list[tuple[str, FoldedIDN]]:
    """The first ``count`` faces, folded into the demo's network, in an order that mixes their kinds."""
    known = list(faces())
    order = np.random.default_rng(0).permutation(len(known))[:count]
    embed, iin = Embedder(weights.checkpoint("arcface")), weights.checkpoint("iin")
    return [(known[i][0], fold(iin, embed(arcface_input(known[i][1], known[i][0])))) for i in order]


class Made:
    """A base in one precision."""

    def __init__(
        self, identities: Sequence[FoldedIDN], precision: str, pictures: calibration.CalibrationSet | None
    ) -> None:
        base = precisions.Base.of(list(identities), size=SIZE, optimize=1)
        self.graph = precisions.make(base, precision, pictures, min_psnr=None, steps=Recorded())
        self.readers = self.graph.readers

    def of(self, identity: FoldedIDN) -> ir.Model:
        """With that identity in it."""
        owned = self.graph.owned(identity.weights("identity-local"))
        return people.install(self.graph.model, owned, self.readers)


def levels(found: Sequence[Outputs], wanted: Sequence[Outputs]) -> tuple[float, ...]:
    """Mean PSNR in dB per output."""
    pairs = list(zip(found, wanted, strict=True))
    return tuple(float(np.mean([psnr(a[name] - b[name]) for a, b in pairs])) for name in OUTPUTS)


def race(precision: str, everyone: Sequence[tuple[str, FoldedIDN]], base: int) -> dict[str, Any]:
    """One precision: each of the others in the base, and alone."""
    pictures = precisions.pictures(None, [precision], size=SIZE, steps=Recorded())
    shown = list(calibration.load(None, SIZE).held_out.spread(JUDGED_ON))
    shared = Made([one for _, one in everyone[:base]], precision, pictures)
    rows = []
    for name, one in everyone[base:]:
        wanted = execute.outputs(build.build(one.weights(), size=SIZE), shown)
        packed = levels(execute.outputs(shared.of(one), shown), wanted)
        alone = levels(execute.outputs(Made([one], precision, pictures).graph.model, shown), wanted)
        beyond = 0.0 if shared.graph.coding is None else shared.graph.coding.beyond(one.weights("identity-local"))
        rows.append({"identity": name, "packed": packed, "alone": alone, "beyond": beyond})
        click.echo(f"{precision:5} {name:22} packed {show(packed)}  alone {show(alone)}  beyond {beyond:.4f}")
    return {"precision": precision, "base": base, "rows": rows, **summary(rows)}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and worst in dB per output, of both; and who is worst."""
    packed, alone = (np.array([row[kind] for row in rows]) for kind in ("packed", "alone"))
    worst = packed.argmin(axis=0)
    return {
        "packed": {"mean": packed.mean(axis=0).tolist(), "worst": packed.min(axis=0).tolist()},
        "alone": {"mean": alone.mean(axis=0).tolist(), "worst": alone.min(axis=0).tolist()},
        "lost": {"mean": (alone - packed).mean(axis=0).tolist(), "most": (alone - packed).max(axis=0).tolist()},
        "worst_identity": [rows[i]["identity"] for i in worst],
    }


def show(values: Sequence[float]) -> str:
    return " / ".join(f"{value:6.2f}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--precision", nargs="+", default=["fp32", "fp16", "int8"])
    parser.add_argument("--identities", type=int, default=100)
    parser.add_argument("--base", type=int, default=16)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    everyone = folded(given.identities + given.base)
    results = [race(precision, everyone, given.base) for precision in given.precision]
    for found in results:
        for kind in ("packed", "alone"):
            levels_of = found[kind]
            click.echo(
                f"{found['precision']:5} {kind:6} mean {show(levels_of['mean'])}, worst {show(levels_of['worst'])}"
            )
        click.echo(f"      worst in the base: {found['worst_identity']}")
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
