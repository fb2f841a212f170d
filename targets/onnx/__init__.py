"""ONNX, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from mfs_edge.target import EmitOptions, Target

if TYPE_CHECKING:
    import onnx_ir as ir


class OnnxTarget(Target):
    """The graph itself, as a file.

    * ``fp32``: as it is.
    * ``fp16``: weights are stored as float16 and cast to float32, which onnxruntime does
      once, on loading; biases, activations, inputs and outputs are float32. onnxruntime has
      no float16 kernels for x86 and few for Arm: it would cast around every node.
    * ``int8``, ``int8-mixed``: the QDQ graph of :mod:`mfs_edge.quantize`, which onnxruntime
      executes with its integer kernels where it has them.

    With ``--io uint8`` inputs and outputs are bytes, [1, S, S, C]; otherwise float32
    [1, C, S, S] in 0..1, whatever is inside.
    """

    name = "onnx"
    title = "ONNX (onnxruntime)"
    suffix = ".onnx"
    extra = "onnx"
    engine = f"{__name__}.engine"
    emit_needs = ("onnx_ir", "onnx")
    run_needs = ("onnxruntime",)
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8", "int8-mixed")
    # Run by tests/targets/test_oldest.py, as all of them are.
    oldest: Mapping[str, str] = MappingProxyType(dict.fromkeys(precisions, "onnxruntime 1.15.0"))
    enrolment: tuple[str, ...] = ("fp32", "fp16", "int8")
    io_forms: tuple[str, ...] = ("float32", "uint8")
    packs = True
    default_precision = "fp32"
    default_io = "float32"

    def emit(self, model: ir.Model, path: Path, options: EmitOptions) -> None:
        """Write a self-contained ``.onnx`` that ``onnx.checker`` accepts.

        Raises:
            LoweringError: fp16 asked for, and a weight is beyond float16.
        """
        from . import emit

        emit.write(model, path, options)

    def beside(self, path: Path) -> tuple[str, ...]:
        """The files of weights that the model itself names (ONNX's "external data")."""
        from . import external

        return external.names(path)
