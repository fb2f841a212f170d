"""C made for one network: no runtime, no allocation, one translation unit."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from mfs_edge.options import TargetOptions
from mfs_edge.target import EmitOptions, Machine, Target

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    from mfs_edge.base.runs import Derived, Run
    from mfs_edge.program import Program


class NativeOptions(TargetOptions):
    """What only C asks."""

    embed: bool = Field(
        default=False,
        description="whether the weights are constants of the program, in idn_weights.c, instead of the file "
        "idn.weights",
    )


class NativeTarget(Target):
    """A folder: ``idn.h`` with the manual, ``idn.c``, the weights, an example and what compiles it.

    What reads an identity is a folder of the same kind, whose files are called ``enrol``.

    The source is one for every processor: x86-64 (SSE2, AVX2, AVX-512 chosen at run time), 64-bit Arm,
    WebAssembly, anything else that GCC or Clang compile for.
    """

    name = "c"
    title = "C"
    suffix = ".idn"
    extra = "native"
    engine = f"{__name__}.engine"
    emit_needs = ("onnx_ir", "jinja2")
    run_needs: tuple[str, ...] = ("jinja2",)  # what is compiled is first made again, and compared
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8")
    products = True
    io_forms: tuple[str, ...] = ("float32", "uint8")
    packs = True
    enrolment: tuple[str, ...] = ("fp32", "fp16", "int8")
    default_precision = "fp32"
    default_io = "float32"
    options: type[TargetOptions] = NativeOptions
    compiled = True

    def __init__(self) -> None:
        if not os.environ.get("CC") and not any(map(shutil.which, ("gcc", "clang", "cc"))):
            self.run_needs = (*self.run_needs, "ziglang")

    def cautions(self) -> list[str]:
        """Where ``$CC`` names nothing, nothing else is taken in its place."""
        given = shlex.split(os.environ.get("CC", ""))
        if not given or shutil.which(given[0]):
            return []
        return [f"$CC names {given[0]}, which is not found, so that no C can be compiled; name another, or unset it"]

    def emit(self, model: ir.Model, path: Path, options: EmitOptions) -> None:
        """Write the folder; the same model and options give the same bytes.

        Raises:
            LoweringError: the graph is not of the family; names the node.
            MissingDependency: jinja2 is not installed.
        """
        from . import emit

        emit.write(model, path, options)

    def runs(self, path: Path, owned: Mapping[str, np.ndarray]) -> tuple[Run, ...]:
        """In ``idn.weights``; where the weights are the program's own constants, no pack can replace them.

        Arguments as of :meth:`Target.runs`: arrays are [C, 1, k, k] or [O, I, 1, 1].
        """
        if not (path / "idn.weights").exists():
            return ()
        return super().runs(path, owned)

    def derived(self, path: Path, contents: Mapping[str, bytes]) -> tuple[Derived, ...]:
        """The checksum of an identity, and the hash of ``idn.weights`` in ``idn.json``."""
        from . import derived

        return derived.derived(path.name, contents)

    def vouch(self, path: Path) -> Program:
        """The C must be what this version writes for such a network: nothing else is compiled or called.

        Raises:
            InputError: the folder is damaged, or holds what this version did not write.
            MissingDependency: jinja2 is not installed.
        """
        from . import emit

        found = self.read(path)
        emit.vouch(path)
        return found

    def built(self, path: Path, machine: Machine) -> dict[str, bytes]:
        """The shared library for ``machine``, by ``ziglang``: a device needs no compiler."""
        from . import cross

        self.vouch(path)
        return cross.library(path, machine)
