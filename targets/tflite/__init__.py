"""TFLite, run by LiteRT (``ai_edge_litert``) or the older ``tflite_runtime``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from mfs_edge.base import extras, files
from mfs_edge.base.version import __version__
from mfs_edge.target import ENROL, SWAP, EmitOptions, Loaded, Target

from .engine import DISTRIBUTIONS, Engine

if TYPE_CHECKING:
    import onnx_ir as ir

    from mfs_edge.base.runs import Derived
    from mfs_edge.program import Program


_TITLES = {SWAP: "MobileFaceSwap IDN of one identity", ENROL: "MobileFaceSwap enrolment: a face crop to an identity"}
OLD = "tflite-runtime (2.14 is its last)"
SLOW = "several times slower than an fp32 file"


class TfliteTarget(Target):
    """A ``.tflite`` written directly from the graph: NHWC, no transpose, one XNNPACK partition.

    ``fp16`` keeps weights in half precision and computes in float. ``int8`` and
    ``int8-mixed`` lower a QDQ graph; its float islands stay float.
    """

    name = "tflite"
    title = "TFLite (LiteRT)"
    suffix = ".tflite"
    extra = "tflite"
    engine = f"{__name__}.engine"
    emit_needs = ("onnx_ir", "ai_edge_litert", "flatbuffers")
    run_needs = (next(filter(extras.available, DISTRIBUTIONS), next(iter(DISTRIBUTIONS))),)
    uses: ClassVar[dict[str, str]] = {  # for doctor: how; ai-edge-litert before 2.1 has another schema
        "ai_edge_litert": "from ai_edge_litert.interpreter import Interpreter\n"
        "from ai_edge_litert.schema_py_generated import OperatorT; OperatorT(opcodeIndex=0)",
        "tflite_runtime": "from tflite_runtime.interpreter import Interpreter",
        "flatbuffers": "import flatbuffers; flatbuffers.Builder(64)",
    }
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8", "int8-mixed")
    # Run by tests/targets/test_oldest.py, as all of them are.
    oldest: Mapping[str, str] = MappingProxyType(dict.fromkeys(precisions, "tflite-runtime 2.14.0"))
    enrolment: tuple[str, ...] = ("fp32", "fp16", "int8")
    io_forms: tuple[str, ...] = ("float32", "uint8")
    packs = True
    default_precision = "fp32"
    default_io = "float32"

    def emit(self, model: ir.Model, path: Path, options: EmitOptions) -> None:
        """Write ``model`` as one self-contained file.

        The same model and options give the same bytes.

        Raises:
            LoweringError: a node has no counterpart in TFLite, a weight does not fit float16, or
                the graph is not of the precision asked for.
            OutputError: the file cannot be written.
            MissingDependency: ``ai_edge_litert``, which brings the schema, is not installed.
        """
        content = self.to_bytes(model, options)
        with files.atomic(path) as temporary:
            temporary.write_bytes(content)

    def derived(self, path: Path, contents: Mapping[str, bytes]) -> tuple[Derived, ...]:
        """The digest that the file holds of itself."""
        from . import derived

        return derived.derived(path.name, contents)

    def to_bytes(self, model: ir.Model, options: EmitOptions) -> bytes:
        """What :meth:`emit` writes."""
        from . import flat, flatbuffer  # noqa: F401 (rules of their own)
        from .lowering import lower

        extras.require("ai_edge_litert.schema_py_generated", self.extra)
        enrols = options.task == ENROL
        if not enrols:
            _check_precision(model, options.precision)
        half = options.precision == "fp16" and not enrols
        low, inputs, outputs = lower(model.graph, half=half, as_bytes=options.io == "uint8", keep_codes=enrols)
        return flatbuffer.serialise(
            low.builder,
            inputs=inputs,
            outputs=outputs,
            description=f"{_TITLES[options.task]}, {options.precision}, written by mfs-edge {__version__}",
            metadata=options.metadata,
        )

    def remarks(self, program: Program) -> list[str]:
        """That the runtime of many older devices makes an int8 file slow."""
        if not program.metadata.get("precision", "").startswith("int8"):
            return []
        return [f"on a device with {OLD} it runs outside XNNPACK, {SLOW}; pip install {Engine.PACKAGE} there"]

    def cautions(self) -> list[str]:
        """As for a file, of this machine."""
        if self.run_needs != ("tflite_runtime",):
            return []
        return [f"{OLD} runs int8 files outside XNNPACK, {SLOW}; pip install {Engine.PACKAGE} in its place"]

    def load(self, path: Path, *, threads: int | None = None) -> Loaded:
        """The file in LiteRT, or in ``tflite_runtime``: one of ours only, as interpreters trust what they are given.

        Raises:
            InputError: the file is damaged, or is not an image-to-swapped-and-mask program.
            MissingDependency: neither runtime is installed.
        """
        from . import validate

        validate.load(path)
        return super().load(path, threads=threads)


def _check_precision(model: ir.Model, precision: str) -> None:
    """A file must be what its name says."""
    from mfs_edge.base.errors import LoweringError

    quantised = any(node.op_type == "QuantizeLinear" for node in model.graph)
    if quantised != precision.startswith("int8"):
        found = "has" if quantised else "has no"
        raise LoweringError(f"precision {precision} was asked for, but the graph {found} QuantizeLinear nodes")
