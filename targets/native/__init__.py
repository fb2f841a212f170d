"""C made for one network: no runtime, no allocation, one translation unit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge.target import EmitOptions, Target

if TYPE_CHECKING:
    import onnx_ir as ir


class NativeTarget(Target):
    """A folder: ``idn.h`` with the manual, ``idn.c``, ``idn.weights``, an example and what compiles it.

    The source is one for every processor: x86-64 (SSE2, AVX2, AVX-512 chosen at run time), 64-bit Arm,
    WebAssembly, anything else that GCC or Clang compile for.
    """

    name = "c"
    title = "C"
    suffix = ".idn"
    extra = "native"
    engine = f"{__name__}.engine"
    emit_needs = ("onnx_ir", "jinja2")
    run_needs = ("ctypes",)
    precisions: tuple[str, ...] = ("fp32", "int8")
    products = True
    io_forms: tuple[str, ...] = ("float32", "uint8")
    default_precision = "fp32"
    default_io = "float32"

    def emit(self, model: ir.Model, path: Path, options: EmitOptions) -> None:
        """Write the folder; the same model and options give the same bytes.

        Raises:
            LoweringError: the graph is not of the family; names the node.
            MissingDependency: jinja2 is not installed.
        """
        from . import emit

        emit.write(model, path, options)

    def vouch(self, path: Path) -> None:
        """The C must be what this version writes for such a network: nothing else is compiled or called."""
        from . import emit

        self.read(path)
        emit.vouch(path)
