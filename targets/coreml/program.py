"""The MIL program of a graph: its inputs and outputs in the form asked for, the rest lowered.

The forms:

======== ============================ ======================== =========================
``--io`` ``image``                    ``swapped``              ``mask``
======== ============================ ======================== =========================
image    8-bit RGB image              8-bit RGB image          multi-array, 0..1
uint8    8-bit RGB image              8-bit RGB image          8-bit greyscale image
float32  multi-array float32, 0..1    multi-array float32      multi-array float32
======== ============================ ======================== =========================

Core ML hands an 8-bit image to a program as float32 0..255 and takes one back the same way
(so does coremltools' own converter), hence one cast at each end in half precision, and
factors 1/255 and 255 inside the graph: ``ImageType(scale=...)`` would multiply in float32,
before the cast, off the Neural Engine (apple/coremltools #2213).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mfs_edge.base.errors import LoweringError, UsageError

from . import quantised
from .lowering import Lowering

if TYPE_CHECKING:
    import onnx_ir as ir

IMAGES: dict[str, frozenset[str]] = {
    "image": frozenset({"image", "swapped"}),
    "uint8": frozenset({"image", "swapped", "mask"}),
    "float32": frozenset(),
}
PEAK = 255  # of an 8-bit image


def deployment_target(min_ios: int) -> Any:
    """coremltools' name for ``coreml.min_ios``.

    Raises:
        UsageError: this version of coremltools does not know it.
    """
    import coremltools as ct

    target = getattr(ct.target, f"iOS{min_ios}", None)
    if target is None:
        raise UsageError(f"coreml.min_ios={min_ios} is unknown to coremltools {ct.__version__}; set an older one")
    return target


def build(model: ir.Model, *, precision: str, io: str, min_ios: int) -> Any:
    """The ``coremltools`` program of ``model``.

    Args:
        precision: "fp32", or one of those that compute in half precision.
        min_ios: the oldest iOS; before 17 only weights are integers.
        io: see the module's table.

    Raises:
        LoweringError: a node has no counterpart, or a shape is not static.
    """
    if precision.startswith("int8"):
        model = quantised.prepare(model, min_ios=min_ios)
    return lowered(model, np.float32 if precision == "fp32" else np.float16, io=io, min_ios=min_ios)


def lowered(model: ir.Model, dtype: type[np.floating[Any]], *, io: str, min_ios: int) -> Any:
    """The program of ``model`` as it is, with activations of type ``dtype``; see :func:`build`."""
    from coremltools.converters.mil.mil import Function, Program

    low = Lowering(dtype)
    inputs = {str(value.name): low.mil.placeholder(shape=_shape(value)) for value in model.graph.inputs}  # float32
    outputs = [str(value.name) for value in model.graph.outputs]
    low.renamed = {name: f"{name}_unit" for name in outputs if _ends(low, name, io)}
    for name in (*inputs, *outputs):
        low.claim(name)
    with Function(inputs, opset_version=deployment_target(min_ios)) as function:
        for name in inputs:
            low.values[name] = _enter(low, name, function.inputs[name], io)
        for node in model.graph:
            low.node(node)
        function.set_outputs([_leave(low, name, io) for name in outputs])
    program = Program()
    program.add_function("main", function)
    return program


def _shape(value: ir.Value) -> tuple[int, ...]:
    if value.shape is None or not value.shape.is_static():
        raise LoweringError(f"input {value.name!r}: Core ML needs its shape; infer shapes before lowering")
    return tuple(value.shape.numpy())


def _enter(low: Lowering, name: str, variable: Any, io: str) -> Any:
    """From what the app gives to what the graph takes: 0..1 in the program's precision."""
    if low.dtype is np.float16:
        variable = low.mil.cast(x=variable, dtype="fp16", name=low.claim(f"{name}_fp16"))
    if name in IMAGES[io]:
        variable = low.mil.mul(x=variable, y=low.dtype(1 / PEAK), name=low.claim(f"{name}_unit"))
    return variable


def _widens(low: Lowering, name: str, io: str) -> bool:
    """Whether an output is float32 outside and half inside; multi-arrays may be half (iOS 16)."""
    return low.dtype is np.float16 and (io == "float32" or name in IMAGES[io])


def _ends(low: Lowering, name: str, io: str) -> bool:
    """Whether anything follows the node that computes an output."""
    return name in IMAGES[io] or _widens(low, name, io)


def _leave(low: Lowering, name: str, io: str) -> Any:
    """From what the graph gives to what the app takes, under the output's own name."""
    variable = low.values[name]
    widens = _widens(low, name, io)
    if name in IMAGES[io]:
        scaled = low.claim(f"{name}_bytes" if widens else name)
        variable = low.mil.mul(x=variable, y=low.dtype(PEAK), name=scaled)
    if widens:
        variable = low.mil.cast(x=variable, dtype="fp32", name=name)
    return variable
