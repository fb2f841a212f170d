"""Core ML ML Programs (``.mlpackage``), run by Core ML on macOS."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mfs_edge.base import extras
from mfs_edge.target import Description, EmitOptions, IntegerTensor, Runner, Tensor

if TYPE_CHECKING:
    import onnx_ir as ir

    from .runner import CoremlRunner


class CoremlTarget:
    """The graph lowered to MIL; written on any system, run on macOS.

    * ``fp32``, ``fp16``: of all arithmetic.
    * ``int8``, ``int8-mixed``: int8 weights, and from iOS 17 on int8 activations before the
      convolutions; half precision in between.
    """

    name = "coreml"
    title = "Core ML"
    suffix = ".mlpackage"
    extra = "coreml"
    emit_needs = ("onnx_ir", "coremltools")
    run_needs = ("coremltools",)
    uses: ClassVar[dict[str, str]] = {
        "coremltools": "from coremltools.converters.mil import Builder\nfrom coremltools.proto import MIL_pb2\n"
        "from coremltools.libmilstoragepython import _BlobStorageReader"
    }
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

    def unrunnable(self) -> str | None:
        """Off macOS, "not run: needs macOS"; the package can still be written and described."""
        from . import runner

        return runner.unrunnable()

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

    def load(self, path: Path, *, threads: int | None = None) -> CoremlRunner:
        """Core ML chooses its own threads; ``threads`` has no effect.

        Raises:
            MissingDependency: this is not macOS, or coremltools is not installed.
        """
        from .runner import CoremlRunner

        return CoremlRunner(path)

    def describe(self, path: Path) -> Description:
        from . import package

        model = package.read(path)
        entries = dict(model.description.metadata.userDefined)
        entries.pop(package.WEIGHTS_SHA256, None)
        kinds = Counter(operation.type for operation in package.operations(model))
        constants = kinds.pop("const", 0)
        opset = model.mlProgram.functions["main"].opset
        return Description(
            format=f"Core ML ML Program, specification {model.specificationVersion}",
            inputs=tuple(_tensor(feature) for feature in model.description.input),
            outputs=tuple(_tensor(feature) for feature in model.description.output),
            operators=dict(kinds.most_common()),
            metadata={**entries, "author": model.description.metadata.author},
            details={"opset": opset, "constants": constants, "warnings": _warnings(entries, kinds)},
        )

    def integers(self, path: Path) -> list[IntegerTensor]:
        from . import integers

        return integers.read(path)


def _warnings(entries: dict[str, str], kinds: Counter[str]) -> list[str]:
    """For the manifest: what is less than its precision's name says."""
    if entries.get("precision", "").startswith("int8") and not kinds["quantize"]:
        return [
            f"only the weights are int8, as iOS {entries.get('minimum iOS')} cannot quantise activations; "
            "for int8 activations leave out --min-ios, or give 17 or later"
        ]
    return []


def _tensor(feature: Any) -> Tensor:
    """An image is bytes, interleaved, in a pixel buffer; a multi-array is NCHW."""
    if feature.type.WhichOneof("Type") == "imageType":
        image = feature.type.imageType
        channels = 1 if "GRAYSCALE" in type(image).ColorSpace.Name(image.colorSpace) else 3
        return Tensor(feature.name, "uint8", (1, image.height, image.width, channels), layout="NHWC", range="0..255")
    array = feature.type.multiArrayType
    dtype = type(array).ArrayDataType.Name(array.dataType).lower()
    return Tensor(feature.name, dtype, tuple(array.shape), layout="NCHW", range="0..1")
