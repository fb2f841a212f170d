"""ONNX, run by onnxruntime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfs_edge import extras, files
from mfs_edge.errors import InputError
from mfs_edge.target import Description, EmitOptions, Tensor

if TYPE_CHECKING:
    import onnx_ir as ir


class OnnxTarget:
    """The graph itself, as a file."""

    name = "onnx"
    title = "ONNX (onnxruntime)"
    suffix = ".onnx"
    extra = "onnx"
    emit_needs = ("onnx_ir", "onnx")
    run_needs = ("onnxruntime",)
    precisions: tuple[str, ...] = ("fp32",)
    io_forms: tuple[str, ...] = ("float32",)
    default_precision = "fp32"
    default_io = "float32"

    def unrunnable(self) -> str | None:
        return None

    def evaluator(self, path: Path) -> None:
        """None is needed: onnxruntime runs everywhere."""

    def emit(self, model: ir.Model, path: Path, options: EmitOptions) -> None:
        """Write a self-contained ``.onnx`` that ``onnx.checker`` accepts."""
        import onnx
        import onnx_ir as ir

        proto = ir.to_proto(model)
        onnx.helper.set_model_props(proto, dict(options.metadata))
        onnx.checker.check_model(proto)
        path.write_bytes(proto.SerializeToString(deterministic=True))

    def load(self, path: Path, *, threads: int | None = None) -> OnnxRunner:
        return OnnxRunner(path, threads=threads)

    def describe(self, path: Path) -> Description:
        onnx = extras.require("onnx", self.extra)
        files.require_file(path, "artefact")
        try:
            model = onnx.load(path)
            onnx.checker.check_model(model)
        except Exception as error:  # protobuf and checker errors share no base
            raise InputError(f"{path}: is not a readable ONNX model ({_first_line(error)}); write it again") from error
        return Description(
            format=f"ONNX, opset {model.opset_import[0].version}",
            inputs=tuple(_tensor(value) for value in model.graph.input),
            outputs=tuple(_tensor(value) for value in model.graph.output),
            operators=dict(Counter(node.op_type for node in model.graph.node).most_common()),
            metadata={entry.key: entry.value for entry in model.metadata_props},
        )


class OnnxRunner:
    """An onnxruntime CPU session."""

    def __init__(self, path: Path, *, threads: int | None) -> None:
        ort = extras.require("onnxruntime", OnnxTarget.extra)
        files.require_file(path, "artefact")
        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors only
        options.intra_op_num_threads = threads or 0
        try:
            self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base
            raise InputError(f"{path}: onnxruntime cannot load it ({_first_line(error)}); write it again") from error

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, {"image": image}), strict=True))


def _tensor(value: Any) -> Tensor:
    import onnx

    kind = value.type.tensor_type
    shape = tuple(dim.dim_value for dim in kind.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return Tensor(value.name, dtype, shape, layout="NCHW", range="0..1")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
