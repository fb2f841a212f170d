"""Core ML ML Programs (``.mlpackage``), run by Core ML on macOS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from mfs_edge.base import extras
from mfs_edge.options import TargetOptions
from mfs_edge.program import Program
from mfs_edge.target import ENROL, EmitOptions, Runner, Target

if TYPE_CHECKING:
    import onnx_ir as ir

    from mfs_edge.base.runs import Derived


class CoremlOptions(TargetOptions):
    """What only Core ML asks."""

    min_ios: Literal[16, 17, 18, 26] | None = Field(
        default=None,
        description="the oldest iOS (and the macOS of its year) that must run the package; by default 16, or 17 for "
        "int8, whose activations need it",
    )

    def oldest(self, precision: str) -> int:
        """``min_ios``, or what ``precision`` needs."""
        return self.min_ios or (17 if precision.startswith("int8") else 16)

    def resolved(self, precision: str) -> CoremlOptions:
        return self.model_copy(update={"min_ios": self.oldest(precision)})


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
    uses: ClassVar[dict[str, str]] = {
        "coremltools": "from coremltools.converters.mil import Builder\nfrom coremltools.proto import MIL_pb2\n"
        "from coremltools.libmilstoragepython import _BlobStorageReader"
    }
    # What Core ML and the Neural Engine compute in, and what an app has in its hands.
    packs = True
    default_precision = "fp16"
    default_io = "image"
    precisions: tuple[str, ...] = ("fp16", "fp32", "int8", "int8-mixed")
    enrolment: tuple[str, ...] = ("fp32", "fp16", "int8")
    io_forms: tuple[str, ...] = ("image", "float32", "uint8")
    options: type[TargetOptions] = CoremlOptions

    def emit(self, model: ir.Model, path: Path, options: EmitOptions) -> None:
        """Write the package folder. In fp16 the graph should have been balanced before."""
        from . import enrolment, package, program, tools

        tools.require()
        own = options.own if isinstance(options.own, CoremlOptions) else CoremlOptions()
        oldest = own.oldest(options.precision)
        if options.task == ENROL:  # in float32 throughout, whatever its weights are kept in
            mil = enrolment.build(model, min_ios=oldest)
        else:
            mil = program.build(model, precision=options.precision, io=options.io, min_ios=oldest)
        package.write(mil, path, precision=options.precision, io=options.io, min_ios=oldest, metadata=options.metadata)

    def derived(self, path: Path, contents: Mapping[str, bytes]) -> tuple[Derived, ...]:
        """The weights' hash in the model, and the names that follow from the model's."""
        from . import derived

        return derived.derived(path.name, contents)

    def oldest_runtime(self, options: EmitOptions) -> str:
        """By Apple's documentation: Core ML runs on macOS only, so nothing here has tried."""
        own = options.own if isinstance(options.own, CoremlOptions) else CoremlOptions()
        oldest = own.oldest(options.precision)
        return f"iOS {oldest}, macOS {oldest - 3 if oldest < 26 else oldest} (documented, not run)"

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

    def remarks(self, program: Program) -> list[str]:
        """What is less than its precision's name says."""
        entries = program.metadata
        swaps = entries.get("task") != ENROL
        if swaps and entries.get("precision", "").startswith("int8") and "quantize" not in program.operators:
            return [
                f"only the weights are int8, as iOS {entries.get('minimum iOS')} cannot quantise activations; "
                "for int8 activations leave out min_ios, or set 17 or later"
            ]
        return []
