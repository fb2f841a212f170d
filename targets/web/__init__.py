"""The generated C as WebAssembly, and the page that loads it: a folder for any static host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge.target import EmitOptions, Target

if TYPE_CHECKING:
    import onnx_ir as ir

    from mfs_edge.base.runs import Derived
    from mfs_edge.program import Program


class WebTarget(Target):
    """A folder: two modules (SIMD, relaxed SIMD), the weights, ``mfs-swap.js`` with its types, and a page.

    The modules are the C of target c, and so are the weights: the numbers, and packs, are the same.
    """

    name = "web"
    title = "WebAssembly"
    suffix = ".web"
    extra = "web"
    engine = f"{__name__}.engine"
    emit_needs = ("onnx_ir", "jinja2", "ziglang")
    run_needs = ("wasmtime",)
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8")
    products = True
    io_forms: tuple[str, ...] = ("float32", "uint8")
    packs = True
    script = "engine.js"
    default_precision = "fp32"
    default_io = "float32"

    def emit(self, model: ir.Model, path: Path, options: EmitOptions) -> None:
        """Write the folder; the same model, options and compiler give the same bytes.

        Raises:
            LoweringError: the graph is not of the family; names the node.
            MissingDependency: jinja2 or ziglang is not installed.
        """
        from . import emit

        emit.write(model, path, options)

    def derived(self, path: Path, contents: Mapping[str, bytes]) -> tuple[Derived, ...]:
        """The checksum of an identity, and the hash of ``idn.weights`` in ``idn.json``."""
        from ..native import derived

        return derived.derived(path.name, contents)

    def vouch(self, path: Path) -> Program:
        """The scripts must be this version's, as browsers run them; a module may be anybody's, see ``read``.

        Raises:
            InputError: the folder is damaged, or holds what this version did not write.
        """
        from . import page

        found = self.read(path)
        page.vouch(path)
        return found
