"""Core ML ML Programs (``.mlpackage``), run by Core ML on macOS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge.base import extras
from mfs_edge.graph.program import Program
from mfs_edge.target import EmitOptions, Runner, Target

if TYPE_CHECKING:
    import onnx_ir as ir


class CoremlTarget(Target):
    """The graph lowered to MIL; written on any system, run on macOS.

    * ``fp32``, ``fp16``: of all arithmetic.
    * ``int8``, ``int8-mixed``: int8 weights, and from iOS 17 on int8 activations before the
      convolutions; half precision in between.
    """

    name = "coreml"
    title = "Core ML"
    suffix = ".mlpackage"
    extra = "coreml"
    engine = f"{__name__}.engine"
    emit_needs = ("onnx_ir", "coremltools")
    run_needs = ("coremltools",)
    systems = ("Darwin",)
    # What Core ML and the Neural Engine compute in, and what an app has in its hands.
    default_precision = "fp16"
    default_io = "image"
    precisions: tuple[str, ...] = ("fp16", "fp32", "int8", "int8-mixed")
    io_forms: tuple[str, ...] = ("image", "float32", "uint8")

    def emit(self, model: ir.Model, path: Path, options: EmitOptions) -> None:
        """Write the package folder. In fp16 the graph should have been balanced before."""
        from . import package, program, tools

        tools.require()
        mil = program.build(model, precision=options.precision, io=options.io, min_ios=options.min_ios)
        package.write(
            mil,
            path,
            precision=options.precision,
            io=options.io,
            min_ios=options.min_ios,
            metadata=options.metadata,
        )

    def evaluator(self, path: Path) -> Runner:
        """The saved package, executed operation by operation from the MIL specification.

        In fp16 every intermediate is rounded to half precision. It proves what the file
        computes, not what a device makes of it.

        Raises:
            InputError: the package contradicts itself, or the specification.
        """
        extras.require("torch", "compile")
        from . import evaluator

        return evaluator.Package.open(path)

    def read(self, path: Path) -> Program:
        """From the package's own bytes: coremltools need not be installed.

        Raises:
            InputError: the package is damaged or foreign.
        """
        from . import read

        return read.read(path)

    def remarks(self, program: Program) -> list[str]:
        """What is less than its precision's name says."""
        entries = program.metadata
        if entries.get("precision", "").startswith("int8") and "quantize" not in program.operators:
            return [
                f"only the weights are int8, as iOS {entries.get('minimum iOS')} cannot quantise activations; "
                "for int8 activations leave out --min-ios, or give 17 or later"
            ]
        return []
