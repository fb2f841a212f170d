"""What it costs a frame that an artefact takes packs: the identity-local form beside the plain one, in turns.

Both hold the same identity, optimised alike; each is a process of its own with one thread. int8 is made by the
same recipe from each. A ratio above 1 is a slower identity-local form.

    python benchmarks/forms.py
    python benchmarks/forms.py --precision int8 --turns 100 --json FILE
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx_ir as ir

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # run as a script, only this folder is on the path

# ruff: noqa: E402

from benchmarks import peerlib
from benchmarks.native import ended, turns_of
from benchmarks.peer_race import Child, race
from benchmarks.quantize import cpu
from mfs_edge import target
from mfs_edge.fold import fold
from mfs_edge.graph import build, passes
from mfs_edge.measure import luggage
from mfs_edge.quantize import calibration, quantise
from mfs_edge.sample import weights
from mfs_edge.target import EmitOptions, Target

SIZE = 224
FORMS = ("identity-local", "plain")


@click.command(help=__doc__)
@click.option("--precision", "precisions", type=click.Choice(["fp32", "int8"]), multiple=True, default=("fp32", "int8"))
@click.option("--turns", default=60, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here too.")
def main(precisions: tuple[str, ...], turns: int, json_path: Path | None) -> None:
    folded = fold(weights.checkpoint("iin"), weights.identity(0))
    models = {form: passes.optimise(build.build(folded.weights(form), size=SIZE), level=1) for form in FORMS}
    pictures = calibration.load(None, SIZE)
    rows = []
    for precision in precisions:
        for kind in target.registered().values():
            if target.missing(kind) or kind.unrunnable() is not None or precision not in kind.precisions:
                continue
            row = {"target": kind.name, "precision": precision, **raced(kind, precision, models, pictures, turns)}
            click.echo(str(row))
            rows.append(row)
    peerlib.show(f"identity-local form beside the plain one, one thread, in turns, on {cpu()}", rows)
    if json_path is not None:
        peerlib.save(json_path, {"cpu": cpu(), "rows": rows})


def raced(
    kind: Target, precision: str, models: dict[str, ir.Model], pictures: calibration.CalibrationSet, turns: int
) -> dict[str, Any]:
    """Milliseconds of each form, and the ratio with its quartiles."""
    with tempfile.TemporaryDirectory() as folder:
        children = {}
        for form, model in models.items():
            place = Path(folder) / form
            place.mkdir()
            np.save(place / "images.npy", np.concatenate(list(pictures.held_out.spread(2))))
            wanted = model if precision == "fp32" else quantise(model, pictures, products=kind.products).model
            path = place / f"idn{kind.suffix}"
            kind.emit(wanted, path, EmitOptions(precision=precision))
            children[form] = Child(str(luggage.engine_file(kind)), sys.executable, path, place, threads=1)
        taken = race(turns_of(children), turns=turns, warmup=turns // 6)
        ended(children)
    found = {f"{form}, ms": round(taken.quartiles(form)[1], 2) for form in FORMS}
    low, high = taken.spread(*FORMS)
    return found | {"ratio": round(taken.ratio(*FORMS)[0], 4), "quartiles": f"{low:.3f} to {high:.3f}"}


if __name__ == "__main__":
    main()
