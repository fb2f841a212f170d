"""What a folder of generated C holds: ``idn.json`` or ``enrol.json`` tells, and vouches for the other files by their
hashes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import files
from mfs_edge.base.errors import InputError
from mfs_edge.program import IntegerTensor, Program, Step, Tensor, Value

INDEX = "idn.json"
ENROLMENT = "enrol.json"  # of what reads an identity
SCALES = "enrol.weights"
AGAIN = "compile it again, or copy the whole folder"


def index_of(path: Path) -> Path:
    """The file in the folder ``path`` that tells what the others are."""
    return path / (ENROLMENT if (path / ENROLMENT).exists() else INDEX)


def read(path: Path) -> Program:
    """The network in ``path``, a folder.

    Raises:
        InputError: a file is missing or is not the one that was written.
    """
    index = index_of(path)
    try:
        held = json.loads(index.read_bytes())
        for name, digest in held["sha256"].items():
            if files.sha256(files.confined(path, name, source=index)) != digest:
                raise InputError(f"{path / name}: is not the file that {index.name} was written with; {AGAIN}")
        return _program(held, path)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read ({error.strerror}); {AGAIN}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:  # whatever damage looks like
        raise InputError(f"{index}: is damaged ({type(error).__name__}: {error}); {AGAIN}") from error


def _quantised(held: dict[str, Any], path: Path) -> list[IntegerTensor]:
    """What is rounded; an enrolment's scales lie in its weights only, as there are many."""
    found = []
    places = held.get("scales") or [None] * len(held["quantised"])
    for tensor, place in zip(held["quantised"], places, strict=True):
        told = tensor["scales"] if place is None else np.fromfile(path / SCALES, "<f4", place[1], offset=place[0])
        found.append(IntegerTensor(**{**tensor, "scales": tuple(map(float, told))}))
    return found


def _program(held: dict[str, Any], path: Path) -> Program:
    described = held["program"]
    values = {
        name: Value(tuple(map(int, shape)), str(dtype), int(bits), bool(constant))
        for name, (shape, dtype, bits, constant) in described["values"].items()
    }
    steps = tuple(
        Step(kind, kind, tuple(inputs), tuple(outputs), name=name, multiplies=int(multiplies))
        for kind, name, inputs, outputs, multiplies in described["steps"]
    )
    takes, gives = (
        tuple(Tensor(**{**t, "shape": tuple(t["shape"])}) for t in held[side]) for side in ("takes", "gives")
    )
    return Program(
        format="C",
        steps=steps,
        values=values,
        inputs=tuple(described["inputs"]),
        outputs=tuple(described["outputs"]),
        takes=takes,
        gives=gives,
        quantised=lambda: _quantised(held, path),
        metadata={str(key): str(value) for key, value in held["metadata"].items()},
        details={"stages": held["stages"], "arena bytes": held["arena"]["shared"] + held["arena"]["worker"]},
    )


def dumps(
    program: Program,
    about: dict[str, Any],
    takes: tuple[Tensor, ...],
    gives: tuple[Tensor, ...],
    integers: Sequence[IntegerTensor] = (),
    *,
    indent: int | None = 1,
) -> str:
    """What :func:`read` reads: ``about`` and the program that the C computes."""
    described = {
        "values": {n: [list(v.known), v.dtype, v.bits, v.constant] for n, v in program.values.items()},
        "steps": [[s.kind, s.name, list(s.inputs), list(s.outputs), s.multiplies] for s in program.steps],
        "inputs": list(program.inputs),
        "outputs": list(program.outputs),
    }
    quantised = [vars(tensor) for tensor in integers]
    sides = {side: [vars(t) for t in tensors] for side, tensors in (("takes", takes), ("gives", gives))}
    held = {**about, **sides, "quantised": quantised, "program": described}
    return json.dumps(held, indent=indent, separators=None if indent else (",", ":")) + "\n"
