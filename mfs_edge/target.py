"""The Target protocol: one face for every backend, and the registry that finds them.

A backend is a class registered under the entry-point group ``mfs_edge.targets``; a third
party can ship one more. Importing a backend's module must be cheap: runtimes and
converters are imported inside its methods.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mfs_edge.base import extras
from mfs_edge.base.artefact import Artefact
from mfs_edge.base.errors import InputError, MissingDependency, UsageError, nearest
from mfs_edge.base.fidelity import Swapper
from mfs_edge.options import Option, TargetOptions

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

GROUP = "mfs_edge.targets"
PRECISIONS = ("fp32", "fp16", "int8", "int8-mixed")
IO_FORMS = ("float32", "uint8", "image")


@dataclass(frozen=True)
class EmitOptions:
    """What a backend is asked for."""

    precision: str = "fp32"
    io: str = "float32"
    metadata: Mapping[str, str] = field(default_factory=dict)  # written into the file
    own: TargetOptions | None = None  # of the target's ``options``, resolved; None takes its defaults


@dataclass(frozen=True)
class Tensor:
    """One input or output of an artefact, as an app sees it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: str  # "NCHW" or "NHWC"
    range: str  # "0..1" or "0..255"


ACTIVATION, WEIGHT, BIAS = "activation", "weight", "bias"


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
        """A stored tensor, scaled as a whole or along its first axis; int32 is a bias."""
        import numpy as np

        factors = np.asarray(scale, np.float64).ravel()
        shape = [-1] + [1] * (codes.ndim - 1) if factors.size > 1 else []
        real = (codes.astype(np.float64) - zero_point) * factors.reshape(shape)
        kind = BIAS if codes.dtype == np.int32 else WEIGHT
        scales = tuple(float(factor) for factor in factors)
        return cls(name, kind, codes.dtype.name, scales, zero_point, float(real.min()), float(real.max()))


@dataclass(frozen=True)
class Description:
    """What is in an artefact, read from its file."""

    format: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: Mapping[str, int]
    metadata: Mapping[str, str]
    details: Mapping[str, Any] = field(default_factory=dict)  # what only this format has


class Runner(Swapper, Protocol):
    """A loaded artefact."""

    def execution(self) -> str:
        """What its runtime makes of it, in one line: what computes on which type."""
        ...


class Target(Protocol):
    """One backend."""

    name: str  # as in --target
    title: str
    suffix: str  # of its artefact, with the dot
    extra: str  # the pip extra that brings what it needs
    emit_needs: tuple[str, ...]  # modules
    run_needs: tuple[str, ...]
    precisions: tuple[str, ...]
    io_forms: tuple[str, ...]
    default_precision: str
    default_io: str
    companions: tuple[str, ...]  # suffixes of what lies beside an artefact, where it is several files
    options: type[TargetOptions]

    def unrunnable(self) -> str | None:
        """Why no artefact of this kind can run on this machine; None if it can."""
        ...

    def emit(self, model: ir.Model, path: Path, options: EmitOptions) -> None:
        """Write ``model`` to ``path`` (its companions beside it).

        Raises:
            LoweringError: a node cannot be expressed in this format.
        """
        ...

    def load(self, path: Path, *, threads: int | None = None) -> Runner:
        """The artefact in its own runtime.

        Raises:
            InputError: the file is damaged or foreign.
            MissingDependency: no runtime is installed.
        """
        ...

    def evaluator(self, path: Path) -> Runner | None:
        """Executes the file without its runtime, where that cannot run here; None if there is no such thing.

        Raises:
            InputError: the file contradicts itself or its format's specification.
        """
        ...

    def describe(self, path: Path) -> Description:
        """What the file says of itself.

        Raises:
            InputError: the file is damaged or foreign.
        """
        ...

    def integers(self, path: Path) -> list[IntegerTensor]:
        """Its quantised tensors, in the file's order; none in a float file.

        Raises:
            InputError: the file is damaged or foreign.
        """
        ...


def registered() -> dict[str, Target]:
    """Every registered backend by name, in alphabetical order; installed or not."""
    points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name)
    return {point.name: point.load()() for point in points}


def missing(target: Target) -> list[str]:
    """The modules that ``target`` needs to emit and run, and this environment lacks."""
    needs = dict.fromkeys((*target.emit_needs, *target.run_needs))
    return [module for module in needs if not extras.available(module)]


def get(name: str) -> Target:
    """The backend called ``name``.

    Raises:
        UsageError: there is none; the message gives the nearest name.
    """
    targets = registered()
    if name in targets:
        return targets[name]
    raise UsageError(f"target {name!r} is unknown; {nearest(name, targets)}there are: {', '.join(targets)}, all")


def select(names: tuple[str, ...]) -> tuple[list[Target], list[str]]:
    """The backends asked for, and a line for each that "all" leaves out.

    Raises:
        UsageError: an unknown name, or "all" with nothing installed.
        MissingDependency: a backend named outright lacks its pip extra.
    """
    chosen: dict[str, Target] = {}
    skipped: list[str] = []
    for name in names:
        for target in registered().values() if name == "all" else [get(name)]:
            lacking = missing(target)
            if not lacking:
                chosen[target.name] = target
                continue
            how = f"pip install 'mfs-edge[{target.extra}]'"
            if name != "all":
                raise MissingDependency(f"target {name} needs {', '.join(lacking)}; install it with: {how}")
            skipped.append(f"skipped {target.name}: {', '.join(lacking)} not installed ({how})")
    if not chosen:
        raise MissingDependency("no target is installed; install one with: pip install 'mfs-edge[onnx]'")
    return list(chosen.values()), skipped


def of_file(path: Path) -> Target:
    """The backend that writes files named like ``path``.

    Raises:
        InputError: none does.
    """
    targets = registered()
    for target in targets.values():
        if path.suffix == target.suffix:
            return target
    known = ", ".join(target.suffix for target in targets.values())
    raise InputError(f"{path}: is not an artefact; its name must end in one of {known}")


def options_of(target: Target) -> tuple[Option, ...]:
    """What ``--set`` takes for ``target``, under the full names."""
    return tuple(replace(option, name=f"{target.name}.{option.name}") for option in target.options.offered())


def artefact(path: Path) -> Artefact:
    """The artefact at ``path`` with what lies beside it and belongs to it.

    Raises:
        InputError: no backend writes files of this name.
    """
    return Artefact.at(path, of_file(path).companions)


def check_supported(target: Target, options: EmitOptions) -> None:
    """Raises UsageError if ``target`` cannot emit what ``options`` ask for."""
    for option, value, offered in (
        ("--precision", options.precision, target.precisions),
        ("--io", options.io, target.io_forms),
    ):
        if value not in offered:
            raise UsageError(f"target {target.name} has no {option} {value}; it offers {', '.join(offered)}")
