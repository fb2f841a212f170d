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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
        import numpy as np

        info = np.iinfo(dtype)
        low, high = (info.min - zero_point) * scale, (info.max - zero_point) * scale
        return cls(name, ACTIVATION, dtype, (scale,), zero_point, low, high)

    @classmethod
    def constant(cls, name: str, codes: np.ndarray, scale: np.ndarray, zero_point: int = 0) -> IntegerTensor:
        """A stored tensor of any shape, scaled as a whole ([1]) or along its first axis ([O]); int32 is a bias."""
        import numpy as np

        factors = np.asarray(scale, np.float64).ravel()
        shape = [-1] + [1] * (codes.ndim - 1) if factors.size > 1 else []
        real = (codes.astype(np.float64) - zero_point) * factors.reshape(shape)
        kind = BIAS if codes.dtype == np.int32 else WEIGHT
        scales = tuple(float(factor) for factor in factors)
        return cls(name, kind, codes.dtype.name, scales, zero_point, float(real.min()), float(real.max()))


class UnknownShape(Exception):
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
            raise UnknownShape
        return self.shape

    @property
    def elements(self) -> int:
        return math.prod(self.known)

    @property
    def bytes(self) -> int:
        return math.ceil(self.elements * self.bits / 8)


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


class Origins:
    """Where a program's values come from; every question is answered in one pass over its steps."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.producer = {out: step for step in program.steps for out in step.outputs}
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
        met = set()
        while name not in met:  # a stranger's file may go in circles
            met.add(name)
            step, readers = self.producer.get(name), self.readers.get(name, [])
            if self.constant(name):
                return None
            if step is None or name in self.program.outputs:
                return name
            if step.kind == "DequantizeLinear":
                name = step.inputs[0]
            elif len(readers) == 1 and readers[0].kind == "Bias":  # added by the convolution itself
                name = readers[0].outputs[0]
            elif readers and all(user.kind == "QuantizeLinear" for user in readers):
                return readers[0].outputs[0]
            else:
                return name
        return name
