"""ONNX graph -> OpenVINO IR, in memory and in one process."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfs_edge.base import extras, files
from mfs_edge.base.errors import LoweringError, OutputError
from mfs_edge.base.reasons import reason_of
from mfs_edge.target import ENROL, EmitOptions

from . import engine, quantised, read

if TYPE_CHECKING:
    import onnx_ir as ir

PICTURE_AXES = 4
_XML = 1 << 20  # bytes, several times what one of ours has
# OpenVINO names what it makes itself with a counter of the whole process.
_COUNTED = re.compile(r"^[A-Za-z]+_\d+$")


def write(model: ir.Model, path: Path, options: EmitOptions) -> None:
    """Write ``path`` (.xml) and its .bin.

    Raises:
        LoweringError: OpenVINO cannot read the graph.
        OutputError: the files cannot be written, or ``path`` is not named ``.xml``.
    """
    openvino = extras.require("openvino", "openvino")
    if path.suffix != ".xml":
        raise OutputError(f"{path}: OpenVINO writes only files named .xml; choose such a name")
    network = _read(model)
    enrols = options.task == ENROL
    if enrols or options.precision.startswith("int8"):
        quantised.realise(network, model)
    if options.io == "uint8":
        network = _camera_bytes(network)
    _settle_names(network)
    _annotate(network, options)
    with (
        files.writing(path),
        tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder,
        files.converting(path, size=_size(model)),
    ):
        made = Path(folder) / path.name
        # The hash of the weights belongs into the XML, but exists only once they are
        # written: serialise twice (milliseconds; the weights come out the same).
        for _ in range(2):
            openvino.save_model(network, made, compress_to_fp16=options.precision == "fp16" and not enrols)
            digest = files.sha256(made.with_suffix(".bin"))
            network.set_rt_info(digest, [read.SECTION, read.WEIGHTS_SHA256])
        for part in (made.with_suffix(".bin"), made):
            files.replace(part, path.with_name(part.name))


def _size(model: ir.Model) -> int:
    """Bytes of both files, at most: the weights, and the XML with what belongs to each node."""
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value) + _XML


def _read(model: ir.Model) -> Any:
    """The ``openvino.Model`` of a graph, with the shape arithmetic of its resizes folded."""
    import onnx_ir as ir
    from openvino import passes

    proto = ir.to_proto(model).SerializeToString(deterministic=True)
    try:
        network = engine.core().read_model(proto)
    except RuntimeError as error:
        raise _explain(model, error) from error
    # Only constants: anything more would rename or fuse what our passes have settled.
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(network)
    return network


def _explain(model: ir.Model, error: Exception) -> LoweringError:
    """OpenVINO lists the operators it lacks ("Det-17", "Det", "domain.Det") without their nodes."""
    lists = re.findall(r"(?:operations|failed for): (.+)", str(error))
    lacking = {re.sub(r"-\d+$", "", word) for words in lists for word in re.split(r"[,\s]+", words)}
    for node in model.graph:
        if {node.op_type, f"{node.domain}.{node.op_type}"} & lacking:
            return LoweringError(
                f"node {node.name!r}: OpenVINO cannot read its operator {node.op_type}; "
                "compile with --optimize 1, or leave this target out"
            )
    return LoweringError(f"OpenVINO cannot read the graph: {reason_of(error)}")


def _settle_names(network: Any) -> None:
    """Replace counted names by ones that follow from the graph, so that equal graphs make equal bytes.

    Then number those that are there twice: OpenVINO before 2024.6 refuses such a file.
    """
    operations = network.get_ordered_ops()
    for operation in reversed(operations):  # consumers first: a constant is named after its consumer
        for index, source in enumerate(operation.input_values()):
            producer = source.get_node()
            if _COUNTED.match(producer.get_friendly_name()):
                producer.set_friendly_name(f"{operation.get_friendly_name()}/{index}.{producer.get_type_name()}")
    taken: set[str] = set()
    for operation in reversed(operations):  # the one nearest to an output keeps the name
        name, count = operation.get_friendly_name(), 1
        while operation.get_friendly_name() in taken:
            count += 1
            operation.set_friendly_name(f"{name}.{count}")
        taken.add(operation.get_friendly_name())


def _camera_bytes(network: Any) -> Any:
    """NHWC uint8 0..255 in and out, so that an app passes what its camera gives."""
    import openvino
    from openvino import opset13 as ops
    from openvino.preprocess import PrePostProcessor

    def to_bytes(output: Any) -> Any:
        scaled = ops.multiply(output, ops.constant(255.0, openvino.Type.f32))
        # The conversion to u8 truncates and wraps: round and clamp before it.
        return ops.clamp(ops.round(scaled, "half_to_even"), 0.0, 255.0).output(0)

    processor = PrePostProcessor(network)
    frame = processor.input("image")
    frame.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    # OpenVINO turns this into a product with 1/255, which --precision fp16 keeps to 1.6e-5.
    frame.preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    frame.model().set_layout(openvino.Layout("NCHW"))
    for name in ("swapped", "mask"):
        result = processor.output(name)
        result.model().set_layout(openvino.Layout("NCHW"))
        result.postprocess().custom(to_bytes)
        result.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    return processor.build()


def _annotate(network: Any, options: EmitOptions) -> None:
    """Layouts on inputs and outputs, and what the file says of itself."""
    import openvino

    layout = openvino.Layout("NHWC" if options.io == "uint8" else "NCHW")
    for edge in (*network.get_parameters(), *network.get_results()):
        if len(edge.get_output_partial_shape(0)) == PICTURE_AXES:
            edge.set_layout(layout)
    entries = {**options.metadata, "io": options.io, "precision": options.precision}
    for key, value in entries.items():
        network.set_rt_info(str(value), [read.SECTION, key])
