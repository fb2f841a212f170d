"""ONNX, run by onnxruntime."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfs_edge.base import extras, files
from mfs_edge.base.errors import InputError, LoweringError
from mfs_edge.options import TargetOptions
from mfs_edge.target import Description, EmitOptions, IntegerTensor, Tensor

if TYPE_CHECKING:
    import onnx_ir as ir

BYTE = np.float32(1 / 255)


class OnnxTarget:
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
    emit_needs = ("onnx_ir", "onnx")
    run_needs = ("onnxruntime",)
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8", "int8-mixed")
    io_forms: tuple[str, ...] = ("float32", "uint8")
    default_precision = "fp32"
    default_io = "float32"
    companions: tuple[str, ...] = ()
    options: type[TargetOptions] = TargetOptions

    def unrunnable(self) -> str | None:
        return None

    def evaluator(self, path: Path) -> None:
        """None is needed: onnxruntime runs everywhere."""

    def emit(self, model: ir.Model, path: Path, options: EmitOptions) -> None:
        """Write a self-contained ``.onnx`` that ``onnx.checker`` accepts.

        Raises:
            LoweringError: fp16 asked for, and a weight is beyond float16.
        """
        import onnx
        import onnx_ir as ir

        if options.precision == "fp16":
            model = _halved(model)
        if options.io == "uint8":
            model = _with_bytes(model)
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

    def integers(self, path: Path) -> list[IntegerTensor]:
        onnx_ir = extras.require("onnx_ir", self.extra)
        from mfs_edge.quantize import report

        self.describe(path)  # refuses what is damaged
        return report.tensors(onnx_ir.load(path))


class OnnxRunner:
    """An onnxruntime CPU session."""

    def __init__(self, path: Path, *, threads: int | None) -> None:
        files.require_file(path, "artefact")
        self.path = path
        self.threads = threads
        self.session = self._session()
        self.takes_bytes = self.session.get_inputs()[0].type == "tensor(uint8)"

    def _session(self, rewritten: Path | None = None) -> Any:
        """An inference session; the graph that it really runs is written to ``rewritten``."""
        ort = extras.require("onnxruntime", OnnxTarget.extra)
        self.version = str(ort.__version__)
        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors only
        options.intra_op_num_threads = self.threads or 0
        if rewritten is not None:
            options.optimized_model_filepath = str(rewritten)
        # x86 without VNNI adds products of int8 in saturating int16 unless told not to
        # (microsoft/onnxruntime#12088).
        options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            return ort.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base
            raise InputError(
                f"{self.path}: onnxruntime cannot load it ({_first_line(error)}); write it again"
            ) from error

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        names = [output.name for output in self.session.get_outputs()]
        if not self.takes_bytes:
            return dict(zip(names, self.session.run(names, {"image": image}), strict=True))
        frame = np.rint(image.transpose(0, 2, 3, 1) * 255).astype(np.uint8)
        outputs = self.session.run(names, {"image": np.ascontiguousarray(frame)})
        return {name: value.transpose(0, 3, 1, 2) * BYTE for name, value in zip(names, outputs, strict=True)}

    def execution(self) -> str:
        """From the graph as onnxruntime has rewritten it for its kernels."""
        from mfs_edge.measure import programs

        with tempfile.TemporaryDirectory() as folder:
            rewritten = Path(folder) / "rewritten.onnx"
            self._session(rewritten)
            program = programs.read(rewritten)
        kinds = Counter(step.own for step in program.steps) if program else Counter()
        integer = kinds["QLinearConv"] + kinds["ConvInteger"]
        total = integer + kinds["Conv"] + kinds["FusedConv"]
        return f"onnxruntime {self.version}: {integer} of {total} convolutions on int8, the others on float32"


def _halved(model: ir.Model) -> ir.Model:
    """A copy whose Conv weights are stored in float16 and cast when the file is loaded."""
    import onnx_ir as ir

    from mfs_edge.graph import edit

    copy = model.clone()
    for conv in edit.of_type(copy.graph, "Conv"):
        stored = conv.inputs[1]
        array = edit.constant(stored)
        if stored is None or array is None or array.dtype != np.float32:
            continue
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        if not np.isfinite(half).all():
            raise LoweringError(
                f"Conv node {conv.name}: a weight of {np.abs(array).max():.3g} is beyond float16; compile with fp32"
            )
        small = edit.new_initialiser(copy.graph, f"{stored.name}.half", half)
        cast = edit.new_node(f"{conv.name}.weight", "Cast", small, to=ir.DataType.FLOAT.value)
        cast.outputs[0].dtype, cast.outputs[0].shape = ir.DataType.FLOAT, stored.shape
        copy.graph.insert_before(conv, cast)
        conv.replace_input_with(1, cast.outputs[0])
        if not stored.uses():
            del copy.graph.initializers[str(stored.name)]
    return copy


def _with_bytes(model: ir.Model) -> ir.Model:
    """A copy that takes and gives uint8 [1, S, S, C]: 0..255 stands for 0..1."""
    import onnx_ir as ir

    from mfs_edge.graph import edit

    copy = model.clone()
    graph = copy.graph
    scale = edit.new_initialiser(graph, "byte.scale", np.array(BYTE))
    zero = edit.new_initialiser(graph, "byte.zero", np.array(0, np.uint8))
    image = graph.inputs[0]
    frame = ir.val(str(image.name), dtype=ir.DataType.UINT8, shape=_channels_last(image))
    planar = edit.new_node("image.planar", "Transpose", frame, perm=[0, 3, 1, 2])
    real = edit.new_node("image.float", "DequantizeLinear", planar.outputs[0], scale, zero)
    real.outputs[0].type, real.outputs[0].shape = image.type, image.shape
    image.replace_all_uses_with(real.outputs[0])
    graph.insert_before(next(iter(graph)), [planar, real])
    graph.inputs[0] = frame
    for index, value in enumerate(graph.outputs):
        name = str(value.name)
        codes = edit.new_node(f"{name}.bytes", "QuantizeLinear", value, scale, zero)
        packed = edit.new_node(f"{name}.frame", "Transpose", codes.outputs[0], perm=[0, 2, 3, 1])
        graph.extend([codes, packed])
        output = packed.outputs[0]
        output.dtype, output.shape = ir.DataType.UINT8, _channels_last(value)
        value.name, output.name = f"{name}.float", name
        graph.outputs[index] = output
    return copy


def _channels_last(value: ir.Value) -> ir.Shape:
    import onnx_ir as ir

    if value.shape is None:
        raise LoweringError(f"tensor {value.name} has no inferred shape")
    n, c, h, w = value.shape
    return ir.Shape([n, h, w, c])


def _tensor(value: Any) -> Tensor:
    import onnx

    kind = value.type.tensor_type
    shape = tuple(dim.dim_value for dim in kind.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    as_bytes = dtype == "uint8"
    return Tensor(
        value.name, dtype, shape, layout="NHWC" if as_bytes else "NCHW", range="0..255" if as_bytes else "0..1"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
