"""One description of what a file or graph computes, whatever its format.

Each target reads its own files into a :class:`Program`, our own graphs become one too, and
``graph.cost`` counts it. Nothing here needs a compiler or a runtime: it works on the base install.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfs_edge.base import bits
from mfs_edge.base.errors import InputError

if TYPE_CHECKING:
    import numpy as np

ACTIVATION, WEIGHT, BIAS = "activation", "weight", "bias"


@dataclass(frozen=True)
class Tensor:
    """One input or output of an artefact, as an app sees it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: str  # "NCHW" or "NHWC"
    range: str  # "0..1" or "0..255"


@dataclass(frozen=True)
class IntegerTensor:
    """One quantised tensor of an artefact: real = (code - zero point) * scale."""

    name: str  # as in the float graph
    kind: str  # "activation", "weight" or "bias"
    dtype: str
    scales: tuple[float, ...]  # one, or one per output channel
    zero_point: int
    low: float  # an activation: the least real value that it can hold; a constant: the least it has
    high: float

    @classmethod
    def activation(cls, name: str, dtype: str, scale: float, zero_point: int) -> IntegerTensor:
        """A computed tensor: all of its range."""
        least, most = bits.reach(dtype)
        return cls(
            name, ACTIVATION, dtype, (scale,), zero_point, (least - zero_point) * scale, (most - zero_point) * scale
        )

    @classmethod
    def constant(
        cls,
        name: str,
        codes: np.ndarray,
        scale: np.ndarray,
        zero_point: np.ndarray | int = 0,
        *,
        axis: int = 0,
        dtype: str = "",
    ) -> IntegerTensor:
        """A stored tensor; int32 is a bias.

        Args:
            codes: of any shape.
            scale: for the whole ([1]), along ``axis`` ([O]), or for blocks (as many axes as ``codes`` has).
            zero_point: likewise; of several, the first is told.
            dtype: its type in the file, where that is not the array's.
        """
        import numpy as np

        factors, zero = (np.asarray(array, np.float64) for array in (scale, zero_point))
        real = (codes.astype(np.float64) - _spread(zero, codes.shape, axis)) * _spread(factors, codes.shape, axis)
        kind = BIAS if codes.dtype == np.int32 else WEIGHT
        scales = tuple(float(factor) for factor in factors.ravel())
        low, high = (float(real.min()), float(real.max())) if real.size else (0.0, 0.0)
        return cls(name, kind, dtype or codes.dtype.name, scales, int(zero.ravel()[0]), low, high)


def _spread(values: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """``values``, shaped so that they can be multiplied with an array of ``shape``."""
    if values.size == 1:
        return values.reshape(())
    if values.ndim == len(shape) > 1:  # one for each block
        for dim, (blocks, length) in enumerate(zip(values.shape, shape, strict=True)):
            values = values.repeat(-(-length // blocks), axis=dim).take(range(length), axis=dim)
        return values
    return values.reshape([-1 if dim == axis % len(shape) else 1 for dim in range(len(shape))])


class UnknownShape(InputError):
    """A count needs a shape that the file does not hold."""


@dataclass(frozen=True)
class Value:
    """What flows between steps; ``shape`` is None where the file does not tell it."""

    shape: tuple[int, ...] | None
    dtype: str
    bits: int
    constant: bool = False

    @property
    def known(self) -> tuple[int, ...]:
        """Its shape; raises UnknownShape if there is none."""
        if self.shape is None:
            raise UnknownShape("a tensor has no fixed shape; only a graph of one size can be counted")
        return self.shape

    @property
    def elements(self) -> int:
        return math.prod(self.known)

    @property
    def bytes(self) -> int:
        return -(-self.elements * self.bits // 8)


@dataclass(frozen=True)
class Step:
    """One operator.

    Attributes:
        own: the format's name for it; ``kind`` is ONNX's, where there is one.
        inputs: names of values, "" for one left out.
        attributes: anything that tells two operators apart.
        multiplies: of the graph's convolution or matrix product, per output element; 0 for others.
        added: multiplications by zero that a lowering's form of it does besides, per output element.
    """

    own: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str = ""
    attributes: str = ""
    multiplies: int = 0
    added: int = 0


def nothing() -> list[IntegerTensor]:
    """The quantised tensors of a float file."""
    return []


@dataclass(frozen=True)
class Program:
    """A graph in execution order, and what its file says of itself.

    Attributes:
        inputs, outputs: names of values.
        takes, gives: the same as an app sees them.
        quantised: reads the quantised tensors, in the file's order.
        details: what only this format has.
        file: where it was read from; None for a graph in memory.
    """

    format: str
    steps: tuple[Step, ...]
    values: Mapping[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    takes: tuple[Tensor, ...] = ()
    gives: tuple[Tensor, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    quantised: Callable[[], Sequence[IntegerTensor]] = nothing
    file: Path | None = None

    @property
    def prefix(self) -> str:
        """For a message: the file and a colon, where there is one."""
        return f"{self.file}: " if self.file else ""

    @property
    def operators(self) -> dict[str, int]:
        """How many of each, by the format's names, the most frequent first."""
        return dict(Counter(step.own for step in self.steps).most_common())

    @property
    def hash(self) -> str:
        """Topology, operators, attributes, types and shapes; neither names inside the graph nor weights."""
        numbers: dict[str, int] = {}

        def tensor(name: str) -> list[object]:
            if name == "":
                return []
            value = self.values.get(name)
            described = [value.dtype, value.shape, value.constant] if value else []
            return [numbers.setdefault(name, len(numbers)), *described]

        lines: list[object] = [[name, tensor(name)] for name in self.inputs]
        for step in self.steps:
            lines.append([step.own, [*map(tensor, step.inputs)], step.attributes, [*map(tensor, step.outputs)]])
        lines += [[name, numbers.get(name)] for name in self.outputs]
        return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


LARGEST = 2**63  # elements of a tensor; no format can address more
RANK = 64  # as many axes as numpy has, which has the most


def sound(program: Program) -> Program:
    """``program`` with its steps in an order in which they can run; what is counted may rely on it.

    Raises:
        InputError: a step or an output refers to what is not there, steps wait for each other in
            a circle, or a shape is of more elements than can be addressed.
    """
    for name, value in program.values.items():
        if not _possible(value):
            raise InputError(f"{program.prefix}tensor {name[:80]} is of no possible shape; write the file again")
    users = [(step.name or step.own, (*step.inputs, *step.outputs)) for step in program.steps]
    for user, names in (*users, ("the graph", (*program.inputs, *program.outputs))):
        lacking = next((name for name in names if name and name not in program.values), None)
        if lacking is not None:
            raise InputError(
                f"{program.prefix}{user[:80]} refers to {lacking[:80]}, a tensor that is not there; write it again"
            )
    return replace(program, steps=_ordered(program))


def _possible(value: Value) -> bool:
    shape = value.shape
    if shape is None:
        return not value.constant
    few = len(shape) <= RANK and all(0 <= size < LARGEST for size in shape)
    return few and math.prod(shape) < LARGEST


def _ordered(program: Program) -> tuple[Step, ...]:
    """The steps in the file's own order, but behind what they read, as runtimes sort them."""
    made = {name: number for number, step in enumerate(program.steps) for name in step.outputs if name}
    waits = [{made[name] for name in step.inputs if name in made} for step in program.steps]
    if all(max(behind, default=-1) < number for number, behind in enumerate(waits)):
        return program.steps
    try:
        order = tuple(TopologicalSorter(dict(enumerate(waits))).static_order())
    except CycleError as error:
        name = program.steps[error.args[1][0]].name or program.steps[error.args[1][0]].own
        raise InputError(
            f"{program.prefix}its operators wait for each other in a circle, at {name[:80]}; write the file again"
        ) from error
    return tuple(program.steps[number] for number in order)


class Origins:
    """Where a program's values come from; every question is answered in one pass over its steps."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.producer = {out: step for step in program.steps for out in step.outputs if out}
        self._outputs = frozenset(program.outputs)
        self._kept: dict[str, str | None] = {}
        self.readers: dict[str, list[Step]] = {}
        # What is computed from constants alone, a runtime computes once; the first one is what is stored.
        self._stored: dict[str, str | None] = {n: n for n, value in program.values.items() if value.constant}
        for step in program.steps:
            for name in set(step.inputs):
                self.readers.setdefault(name, []).append(step)
            if all(name == "" or name in self._stored for name in step.inputs):
                behind = next((found for name in step.inputs if name and (found := self._stored[name])), None)
                self._stored |= {out: self._stored.get(out) or behind for out in step.outputs}

    def constant(self, name: str) -> bool:
        """A stored constant, or what is computed from constants alone."""
        return name == "" or name in self._stored

    def stored(self, name: str) -> str | None:
        """The stored constant behind ``name``: a quantised or compressed weight passes through other operators."""
        return self._stored.get(name)

    def storage(self, name: str) -> str | None:
        """The tensor that a runtime keeps for ``name``; None for constants.

        Between a QuantizeLinear and the DequantizeLinear behind it lie the integers that are
        kept; the floats around them exist on paper only.
        """
        met: dict[str, None] = {}
        while name not in met and name not in self._kept:  # a graph in memory may go in circles
            met[name] = None
            name = self._passes_to(name)
        kept = self._kept[name] if name in self._kept else self._end(name)
        self._kept |= dict.fromkeys(met, kept)
        return kept

    def _passes_to(self, name: str) -> str:
        """The tensor that is kept where ``name`` is kept; itself at the end of that way."""
        step, readers = self.producer.get(name), self.readers.get(name, [])
        if self.constant(name) or step is None or name in self._outputs:
            return name
        if step.kind == "DequantizeLinear" and step.inputs:
            return step.inputs[0]
        if len(readers) == 1 and readers[0].kind == "Bias" and readers[0].outputs:  # added by the convolution itself
            return readers[0].outputs[0]
        return name

    def _end(self, name: str) -> str | None:
        """What is kept of ``name``: itself, its integers where nothing else is read, or nothing of a constant."""
        readers = self.readers.get(name, [])
        if self.constant(name):
            return None
        inner = name in self.producer and name not in self._outputs and bool(readers)
        quantised = inner and all(user.kind == "QuantizeLinear" and user.outputs for user in readers)
        return readers[0].outputs[0] if quantised else name
