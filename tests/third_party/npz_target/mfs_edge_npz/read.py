"""An archive in, a program out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from mfs_edge.base import files
from mfs_edge.base.errors import InputError
from mfs_edge.program import Program, Step, Tensor, Value


def read(path: Path) -> Program:
    """The program in ``path``.

    Raises:
        InputError: it is missing or damaged.
    """
    files.require_file(path, "artefact")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        held = json.loads(arrays.pop("graph.json").tobytes())
        return _program(held, arrays)
    except Exception as error:  # zipfile's, json's and numpy's share no base
        raise InputError(f"{path}: is damaged ({type(error).__name__}: {error}); compile it again") from error


def _program(held: dict, arrays: dict[str, np.ndarray]) -> Program:
    values = {name: Value(tuple(shape), "float32", 32) for name, shape in held["shapes"].items()}
    values |= {n: Value(a.shape, a.dtype.name, 8 * a.itemsize, constant=True) for n, a in arrays.items()}
    steps = tuple(
        Step(
            own=node["kind"],
            kind=node["kind"],
            inputs=tuple(node["inputs"]),
            outputs=(node["output"],),
            name=node["name"],
            attributes=json.dumps(node["attributes"], sort_keys=True),
            multiplies=math.prod(arrays[node["inputs"][1]].shape[1:]) if node["kind"] == "Conv" else 0,
        )
        for node in held["nodes"]
    )
    edges = {
        side: tuple(Tensor(n, "float32", values[n].known, layout="NCHW", range="0..1") for n in held[side])
        for side in ("inputs", "outputs")
    }
    return Program(
        format="numpy archive",
        steps=steps,
        values=values,
        inputs=tuple(held["inputs"]),
        outputs=tuple(held["outputs"]),
        takes=edges["inputs"],
        gives=edges["outputs"],
        metadata=held["metadata"],
    )
