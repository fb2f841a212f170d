"""The folded graph of one identity, in each precision that a target asks for."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge.base.errors import UsageError
from mfs_edge.base.progress import Recorded, Steps
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.target import PRECISIONS

if TYPE_CHECKING:
    import onnx_ir as ir

    from mfs_edge.graph.cost import Cost
    from mfs_edge.quantize.calibration import CalibrationSet

INTEGER = ("int8", "int8-mixed")


class Graphs:
    """Folds and builds once; makes the other precisions from the float32 graph when asked.

    Attributes:
        fp32: the graph after the passes of ``optimize``.
        cost: what that graph costs.
        warnings: what a reader of any artefact must know.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        identity: Identity,
        *,
        size: int,
        optimize: int,
        calibration: Path | None = None,
        min_psnr: float | None = None,
        steps: Steps | None = None,
    ) -> None:
        from mfs_edge.fold import fold
        from mfs_edge.graph import build, cost, passes

        self.checkpoint = checkpoint
        self.identity = identity
        self.size = size
        self.optimize = optimize
        self._calibration = calibration
        self._min_psnr = min_psnr
        self._steps = steps or Recorded()
        plain = build.build(fold(checkpoint, identity).weights(), size=size)
        self.fp32 = passes.optimise(plain, level=optimize)
        self.cost: Cost = cost.count(self.fp32)
        self.warnings = tuple(filter(None, [checkpoint.warning, *identity.notes]))
        self._made = {"fp32": self.fp32}

    @functools.cached_property
    def calibration(self) -> CalibrationSet:
        """The pictures that ranges are measured on and those that judge; read on first use.

        Raises:
            InputError: none of them can be used.
        """
        from mfs_edge.quantize import calibration

        found = calibration.load(self._calibration, self.size)
        for line in (*found.warnings, *found.notices):
            self._steps.note(line)
        return found

    def at(self, precision: str) -> ir.Model:
        """The graph to emit at ``precision``, made once; a backend must not change it."""
        if precision not in self._made:
            self._made[precision] = self._make(precision)
        return self._made[precision]

    def macs_at(self, precision: str) -> int:
        """Multiply-accumulates of the graph that is emitted; quantising may split a conv in two."""
        from mfs_edge.graph import cost

        return cost.count(self.at(precision)).macs

    def warnings_at(self, precision: str) -> tuple[str, ...]:
        """Of an artefact of ``precision``."""
        return (*self.warnings, *self.calibration.warnings) if precision in INTEGER else self.warnings

    def _make(self, precision: str) -> ir.Model:
        if precision == "fp16":
            return self._half()
        if precision in INTEGER:
            return self._quantised(precision)
        raise UsageError(f"precision {precision!r} is unknown; there are {', '.join(PRECISIONS)}")

    def _half(self) -> ir.Model:
        from mfs_edge.quantize import half

        pictures = self.calibration.images if self._calibration else None
        with self._steps.step("balance and round for half precision"):
            return half.prepare(self.fp32, pictures)

    def _quantised(self, precision: str) -> ir.Model:
        from mfs_edge.quantize import quantise

        if not self.optimize:
            raise UsageError(f"--precision {precision} quantises the optimised graph; use it with --optimize 1")
        calibration = self.calibration  # read outside of the step that it names
        wanted = self._min_psnr if precision == "int8-mixed" else None
        with self._steps.counted(f"quantise to {precision}, calibrated on {calibration.source}") as progress:
            found = quantise(self.fp32, calibration, precision=precision, min_psnr=wanted, progress=progress)
        return found.model
