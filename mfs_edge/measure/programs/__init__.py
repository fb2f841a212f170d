"""What a graph costs, counted from an artefact's own bytes.

``bench`` runs where there is no compiler, so each format has a small reader here that needs
no library: ``onnx`` (protobuf), ``tflite`` (flatbuffer), ``openvino`` (XML). They yield one
:class:`Program`; everything is counted from that, by the definitions of ``graph/cost.py``.
Weights are never read, only their shapes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mfs_edge.base.errors import InputError
from mfs_edge.graph.cost import OPERATIONS, PAPER

Reader = Callable[[Path], "Program"]
_READERS: dict[str, Reader] = {}
# Which inputs hold trained numbers; batch-norm statistics are stored, not trained.
_TRAINED = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "BatchNormalization": (1, 2), "PRelu": (1,)} | {
    "Bias": (1,)
}


@dataclass(frozen=True)
class Value:
    """A tensor; ``shape`` is None where the file does not tell it."""

    shape: tuple[int, ...] | None
    dtype: str
    bits: int
    constant: bool = False

    @property
    def elements(self) -> int:
        if self.shape is None:
            raise UnknownShape
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return math.ceil(self.elements * self.bits / 8)


@dataclass(frozen=True)
class Step:
    """One operator. ``kind`` is ONNX's name for it where there is one, ``own`` the format's."""

    own: str
    kind: str
    inputs: tuple[str, ...]  # "" for an input left out
    outputs: tuple[str, ...]
    attributes: str = ""  # anything that tells two operators apart
    multiplies: int = 0  # per output element; 0 for all but convolutions and matrix products


@dataclass(frozen=True)
class Program:
    """A graph in execution order."""

    steps: tuple[Step, ...]
    values: Mapping[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class UnknownShape(Exception):
    """A count needs a shape that the file does not hold."""


@dataclass(frozen=True)
class Counts:
    """See ``graph/cost.py``; None where the file holds no shapes to count from."""

    graph_hash: str
    operators: dict[str, int]
    transposes: int
    parameters: int
    macs: int | None
    flops: int | None
    paper: int | None
    peak_activation_bytes: int | None


def reader(suffix: str) -> Callable[[Reader], Reader]:
    """Register the reader of files of this name."""

    def register(function: Reader) -> Reader:
        _READERS[suffix] = function
        return function

    return register


def read(path: Path) -> Program | None:
    """The graph in ``path``; None for formats without a reader.

    Raises:
        InputError: the file is damaged.
    """
    from mfs_edge.measure.programs import (
        onnx,  # noqa: F401 (they register)
        openvino,  # noqa: F401 (they register)
        tflite,  # noqa: F401 (they register)
    )

    found = _READERS.get(path.suffix)
    if found is None:
        return None
    try:
        return found(path)
    except InputError:
        raise
    except Exception as error:  # struct.error, IndexError, KeyError, ParseError: all of them mean damage
        raise InputError(f"{path}: is damaged ({type(error).__name__}: {error}); write or copy it again") from error


def count(program: Program) -> Counts:
    """Everything that can be counted."""
    operators = Counter(step.own for step in program.steps)
    origins = _Origins(program)
    # What is computed from constants alone, such as dequantised weights, a runtime computes once, not per frame.
    costly = [step for step in program.steps if not all(map(origins.constant, step.outputs))]
    return Counts(
        graph_hash=_hash(program),
        operators=dict(operators.most_common()),
        transposes=sum(step.kind == "Transpose" for step in program.steps),
        parameters=_parameters(program),
        macs=_known(lambda: sum(_macs(step, program) for step in costly)),
        flops=_known(lambda: sum(_flops(step, program) for step in costly)),
        paper=_known(lambda: sum(_paper(step, program) for step in costly)),
        peak_activation_bytes=_known(lambda: _peak(program)),
    )


def _known(compute: Callable[[], int]) -> int | None:
    try:
        return compute()
    except UnknownShape:
        return None


def _elements(step: Step, program: Program) -> int:
    return program.values[step.outputs[0]].elements


def _macs(step: Step, program: Program) -> int:
    return step.multiplies * _elements(step, program) if step.multiplies else 0


def _flops(step: Step, program: Program) -> int:
    if step.multiplies:
        return 2 * _macs(step, program)
    each = OPERATIONS.get(step.kind, 0)
    return each * _elements(step, program) if each else 0


def _paper(step: Step, program: Program) -> int:
    each = step.multiplies or PAPER.get(step.kind, 0)
    return each * _elements(step, program) if each else 0


class _Origins:
    """Where values come from."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.producer = {out: step for step in program.steps for out in step.outputs}

    def constant(self, name: str) -> bool:
        """A stored constant, or what is computed from constants alone."""
        value = self.program.values.get(name)
        if name == "" or (value is not None and value.constant):
            return True
        step = self.producer.get(name)
        return step is not None and all(map(self.constant, step.inputs))

    def stored(self, name: str) -> str | None:
        """The stored constant behind ``name``: a quantised or compressed weight passes through other operators."""
        value = self.program.values.get(name)
        if value is not None and value.constant:
            return name
        step = self.producer.get(name)
        if step is None or not self.constant(name):
            return None
        return next((found for given in step.inputs if (found := self.stored(given))), None)

    def storage(self, name: str) -> str | None:
        """The tensor that a runtime keeps for ``name``; None for constants.

        Between a QuantizeLinear and the DequantizeLinear behind it lie the integers that are
        kept; the floats around them exist on paper only.
        """
        if self.constant(name):
            return None
        step = self.producer.get(name)
        if step is None or name in self.program.outputs:
            return name
        if step.kind == "DequantizeLinear":
            return self.storage(step.inputs[0])
        readers = [user for user in self.program.steps if name in user.inputs]
        if len(readers) == 1 and readers[0].kind == "Bias":  # added by the convolution itself
            return self.storage(readers[0].outputs[0])
        if readers and all(user.kind == "QuantizeLinear" for user in readers):
            return readers[0].outputs[0]
        return name


def _parameters(program: Program) -> int:
    origins = _Origins(program)
    seen: set[str] = set()
    for step in program.steps:
        for slot in _TRAINED.get(step.kind, ()):
            stored = origins.stored(step.inputs[slot]) if slot < len(step.inputs) and step.inputs[slot] else None
            if stored:
                seen.add(stored)
    return sum(program.values[name].elements for name in seen)


def _peak(program: Program) -> int:
    """The most bytes of activations alive at once, nothing computed in place."""
    origins = _Origins(program)
    storage = {name: origins.storage(name) for step in program.steps for name in (*step.inputs, *step.outputs)}
    born = dict.fromkeys(program.inputs, 0)
    dies = dict.fromkeys(program.inputs, 0)
    for i, step in enumerate(program.steps):
        for name in filter(None, (storage[out] for out in step.outputs)):
            born.setdefault(name, i)
            dies[name] = i
        for name in filter(None, (storage[given] for given in step.inputs)):
            dies[name] = i
    dies |= dict.fromkeys(program.outputs, len(program.steps))
    sizes = {name: program.values[name].bytes for name in born}
    live = (sum(sizes[n] for n in born if born[n] <= i <= dies[n]) for i in range(len(program.steps)))
    return max(live, default=0)


def _hash(program: Program) -> str:
    """Topology, operators, attributes, types and shapes; neither names inside the graph nor weights."""
    numbers: dict[str, int] = {}

    def tensor(name: str) -> list[object]:
        if name == "":
            return []
        value = program.values.get(name)
        described = [value.dtype, value.shape, value.constant] if value else []
        return [numbers.setdefault(name, len(numbers)), *described]

    lines: list[object] = [[name, tensor(name)] for name in program.inputs]
    for step in program.steps:
        lines.append([step.own, [*map(tensor, step.inputs)], step.attributes, [*map(tensor, step.outputs)]])
    lines += [[name, numbers.get(name)] for name in program.outputs]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()
