"""One folded network in each precision that is asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge.base.errors import UsageError
from mfs_edge.base.progress import Steps
from mfs_edge.target import PRECISIONS

if TYPE_CHECKING:
    import onnx_ir as ir

    from mfs_edge.quantize.calibration import CalibrationSet

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
    model: ir.Model, precision: str, calibration: CalibrationSet | None, *, min_psnr: float | None, steps: Steps
) -> Graph:
    """``model`` in ``precision``.

    Args:
        model: a float32 graph; left as it is.
        precision: one of ``PRECISIONS``, or ``PRODUCTS``; integers need the passes of ``--optimize 1``.
        calibration: from :func:`pictures`; integers need it.
        min_psnr: dB; int8-mixed only: keeps as many nodes in float as it takes.
        steps: told of progress.

    Raises:
        UsageError: an unknown precision.
    """
    if precision == "fp32":
        return Graph(precision, model, _macs(model))
    if precision == "fp16":
        return _half(model, calibration, steps)
    if precision in INTEGER and calibration is not None:
        return _quantised(model, precision, calibration, min_psnr if precision == "int8-mixed" else None, steps)
    raise UsageError(f"precision {precision!r} is unknown or lacks pictures; there are {', '.join(PRECISIONS)}")


def _half(model: ir.Model, calibration: CalibrationSet | None, steps: Steps) -> Graph:
    from mfs_edge.quantize import half
    from mfs_edge.quantize.calibration import DRAWN

    own = calibration is None or DRAWN in calibration.warnings  # a file is the same whatever is compiled beside it
    with steps.step("balance and round for half precision"):
        rounded = half.prepare(model, None if own or calibration is None else calibration.images)
    return Graph("fp16", rounded, _macs(rounded), () if own or calibration is None else calibration.warnings)


def _quantised(
    model: ir.Model, precision: str, calibration: CalibrationSet, min_psnr: float | None, steps: Steps
) -> Graph:
    from mfs_edge.quantize import quantise

    products = precision == PRODUCTS
    level = "int8" if products else precision
    with steps.counted(f"quantise to {precision}, calibrated on {calibration.source}") as progress:
        found = quantise(model, calibration, precision=level, products=products, min_psnr=min_psnr, progress=progress)
    return Graph(precision, found.model, _macs(found.model), calibration.warnings, found.arithmetic)


def _macs(model: ir.Model) -> int:
    from mfs_edge.graph import cost

    return cost.count(model).macs
