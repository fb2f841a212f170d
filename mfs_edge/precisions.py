"""One folded network in each precision that is asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge.base.errors import UsageError
from mfs_edge.base.progress import Steps
from mfs_edge.target import PRECISIONS

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    from mfs_edge.fold import FoldedIDN
    from mfs_edge.quantize.calibration import CalibrationSet
    from mfs_edge.quantize.coding import Coding
    from mfs_edge.quantize.people import People

PRODUCTS = "int8-products"  # a form of int8, of targets that round only what their products of matrices read
INTEGER = ("int8", "int8-mixed", PRODUCTS)


@dataclass(frozen=True)
class Graph:
    """A graph to emit; nobody changes its model."""

    precision: str
    model: ir.Model
    macs: int  # multiply-accumulates; quantising may split a conv in two
    warnings: tuple[str, ...] = ()  # of what it was calibrated on
    arithmetic: str = ""  # how its integers were kept the same on every CPU
    coding: Coding | None = None  # how the weights that an identity owns are stored; None where all weights are its
    readers: Mapping[str, str] = field(default_factory=dict)  # names of the Convs that read those, by official key

    def owned(self, folded: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What an identity owns in the artefacts, by official key and of their own shape; nothing without a coding."""
        return {} if self.coding is None else self.coding.owned(folded)


@dataclass(frozen=True)
class Base:
    """A float graph, and the identities that it is made for; it holds the first."""

    model: ir.Model
    people: People | None = None  # None where all weights are the identity's
    folded: tuple[Mapping[str, np.ndarray], ...] = ()  # of each, ``FoldedIDN.weights("identity-local")``

    @classmethod
    def of(cls, folded: Sequence[FoldedIDN], *, size: int, optimize: int) -> Base:
        """Of folded identities; without any pass each weight is the identity's, and there is one.

        Args:
            folded: of one checkpoint.
            size: S, pixels.
            optimize: 0 or 1, see ``graph.passes.LEVELS``.
        """
        from mfs_edge.graph import build, passes
        from mfs_edge.quantize import people

        if not optimize:
            return cls(passes.optimise(build.build(folded[0].weights(), size=size), level=optimize))
        weights = tuple(one.weights("identity-local") for one in folded)
        model, persons = people.gather(weights, size=size)
        return cls(model, persons, weights)


def pictures(path: str | Path | None, precisions: Collection[str], *, size: int, steps: Steps) -> CalibrationSet | None:
    """The pictures that ranges are measured on and those that judge; None where no precision needs any.

    Args:
        path: as ``--calibration``; None takes drawn faces, which half precision has of its own.
        precisions: that are asked for.
        size: S of the pictures, float32 [1, 3, S, S] in 0..1.
        steps: told of what was found.

    Raises:
        InputError: none of them can be used.
    """
    from mfs_edge.quantize import calibration

    if not any(p in INTEGER or (p == "fp16" and path is not None) for p in precisions):
        return None
    found = calibration.load(None if path is None else Path(path), size)
    for line in (*found.warnings, *found.notices):
        steps.note(line)
    return found


def make(
    base: Base, precision: str, calibration: CalibrationSet | None, *, min_psnr: float | None, steps: Steps
) -> Graph:
    """``base`` in ``precision``, with its first identity.

    Args:
        base: a float32 graph; left as it is.
        precision: one of ``PRECISIONS``, or ``PRODUCTS``; integers need the passes of ``--optimize 1``.
        calibration: from :func:`pictures`; integers need it.
        min_psnr: dB; int8-mixed only: keeps as many nodes in float as it takes.
        steps: told of progress.

    Raises:
        UsageError: an unknown precision.
    """
    if precision == "fp32":
        return Graph(precision, base.model, _macs(base.model), coding=_as_is(base), readers=_readers(base.model))
    if precision == "fp16":
        return _half(base, calibration, steps)
    if precision in INTEGER and calibration is not None:
        return _quantised(base, precision, calibration, min_psnr if precision == "int8-mixed" else None, steps)
    raise UsageError(f"precision {precision!r} is unknown or lacks pictures; there are {', '.join(PRECISIONS)}")


def _as_is(base: Base) -> Coding | None:
    from mfs_edge.quantize import people
    from mfs_edge.quantize.coding import Coding

    if base.people is None:
        return None
    owned = people.convs(base.model.graph)
    return Coding.ordered(base.people.part(name, conv, "float32") for name, conv in owned.items())


def _readers(model: ir.Model) -> dict[str, str]:
    from mfs_edge.quantize import people

    return {name: str(conv.name) for name, conv in people.convs(model.graph).items()}


def _half(base: Base, calibration: CalibrationSet | None, steps: Steps) -> Graph:
    from mfs_edge.quantize import half, people
    from mfs_edge.quantize.calibration import DRAWN

    own = calibration is None or DRAWN in calibration.warnings  # a file is the same whatever is compiled beside it
    with steps.step("balance and round for half precision"):
        pictures = None if own or calibration is None else calibration.images
        rounded, coding = half.base(base.model, pictures, base.people)
    warnings = () if own or calibration is None else calibration.warnings
    if base.people is None:
        return Graph("fp16", rounded, _macs(rounded), warnings)
    readers = _readers(rounded)
    stored = people.install(rounded, coding.owned(base.folded[0]), readers)
    return Graph("fp16", stored, _macs(stored), warnings, coding=coding, readers=readers)


def _quantised(base: Base, precision: str, calibration: CalibrationSet, min_psnr: float | None, steps: Steps) -> Graph:
    from mfs_edge.quantize import people, quantise

    products = precision == PRODUCTS
    level = "int8" if products else precision
    with steps.counted(f"quantise to {precision}, calibrated on {calibration.source}") as progress:
        found = quantise(
            base.model, calibration, precision=level, products=products, persons=base.people, min_psnr=min_psnr,
            progress=progress,
        )  # fmt: skip
    model, coding = found.model, None
    if base.people is not None:
        coding = found.coding
        model = people.install(model, coding.owned(base.folded[0]), found.owned)
    return Graph(precision, model, _macs(model), calibration.warnings, found.arithmetic, coding, found.owned)


def _macs(model: ir.Model) -> int:
    from mfs_edge.graph import cost

    return cost.count(model).macs
