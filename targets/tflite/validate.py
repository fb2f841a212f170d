"""Is a ``.tflite`` safe to give to an interpreter, and is it one of ours?

Three questions, in this order: do its bytes hold together (``reader``), is the file as it
was written (the digest that mfs-edge leaves in it), and does the program make sense: every
tensor as long as its shape says, computed before it is read, and nothing that an interpreter
would divide by zero.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from pathlib import Path

import numpy as np

from mfs_edge.base import files
from mfs_edge.base.errors import InputError
from mfs_edge.target import CROP, PAYLOAD

from . import flatbuffer, operators, reader, shapes
from .reader import Damaged, Model, Operator, TensorEntry

# As in graph.build, which devices without the compiler's libraries cannot import.
IMAGE, SWAPPED, MASK = "image", "swapped", "mask"
_MAX_ELEMENTS = 2**28
_ZERO_POINTS = {"int8": (-128, 127), "uint8": (0, 255)}  # other types are symmetric


def metadata(data: bytes, model: Model) -> dict[str, str]:
    """A file's text entries."""
    found = {}
    for name, (start, size) in model.metadata.items():
        with contextlib.suppress(UnicodeDecodeError):
            found[name] = data[start : start + size].decode().rstrip("\0")
    return {name: text for name, text in found.items() if text.isprintable()}


def load(path: Path) -> Model:
    """Read and check an artefact.

    Raises:
        InputError: it is missing, truncated, damaged, no TFLite model, or one with other
            inputs and outputs than a swap's or an enrolment's.
    """
    files.require_file(path, "artefact")
    try:
        return check(path.read_bytes())
    except Damaged as error:
        raise InputError(f"{path}: is not a sound TFLite artefact: {error}; compile it again") from error


def check(data: bytes, model: Model | None = None) -> Model:
    """The model in ``data``, which may have been read before.

    Raises:
        Damaged: see :func:`load`.
    """
    model = model or reader.read(data)
    _check_digest(data, model)
    if model.foreign:
        raise Damaged(model.foreign[0])
    if model.version != flatbuffer.SCHEMA_VERSION:
        raise Damaged(f"its schema is version {model.version}, mfs-edge reads {flatbuffer.SCHEMA_VERSION}")
    for tensor in model.tensors:
        _check_tensor(tensor)
    _check_order(model)
    for operator in model.operators:
        kind = _check_operator(operator)
        shapes.check(data, operator, kind.name, kind.shape, model.tensors)
    _check_signature(model)
    return model


def _check_digest(data: bytes, model: Model) -> None:
    if flatbuffer.DIGEST not in model.metadata:
        return
    start, size = model.metadata[flatbuffer.DIGEST]
    blanked = data[:start] + b"0" * size + data[start + size :]
    if hashlib.sha256(blanked).hexdigest().encode() != data[start : start + size]:
        raise Damaged("its contents have changed since it was written")


def _check_tensor(tensor: TensorEntry) -> None:
    if any(dim < 0 for dim in tensor.shape) or math.prod(tensor.shape) > _MAX_ELEMENTS:
        raise Damaged(f"tensor {tensor.name!r} has the shape {tensor.shape}")
    needed = math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
    start, size = tensor.content
    if tensor.is_constant and size != needed:
        raise Damaged(f"tensor {tensor.name!r} has {size} bytes where its shape needs {needed}")
    if tensor.is_constant and start % np.dtype(tensor.dtype).itemsize:
        raise Damaged(f"tensor {tensor.name!r} is not aligned")
    _check_quantisation(tensor)


def _check_quantisation(tensor: TensorEntry) -> None:
    found = tensor.quantisation
    if found is None:
        if tensor.dtype == "int8":  # an interpreter divides by its scale
            raise Damaged(f"tensor {tensor.name!r} is int8 and has no scale")
        return
    least, most = _ZERO_POINTS.get(tensor.dtype, (0, 0))
    if ((found.zero_point < least) | (found.zero_point > most)).any():
        raise Damaged(f"tensor {tensor.name!r} has a zero point outside {least}..{most}")
    count = found.scale.size
    axis_fits = 0 <= found.axis < max(len(tensor.shape), 1)
    along = tensor.shape[found.axis] if axis_fits and tensor.shape else 1
    counts = (1, along) if tensor.is_constant else (1,)
    if found.zero_point.size not in (0, count) or not axis_fits or count not in counts:
        raise Damaged(f"tensor {tensor.name!r} has {count} scales for the shape {tensor.shape}")
    if not (np.isfinite(found.scale).all() and (found.scale > 0).all()):
        raise Damaged(f"tensor {tensor.name!r} has a scale that is not a positive number")


def _check_order(model: Model) -> None:
    """Every tensor is a constant, an input, or computed once, before it is read."""
    count = len(model.tensors)
    known = {index for index, tensor in enumerate(model.tensors) if tensor.is_constant}
    _add(known, model.inputs, count)
    for number, operator in enumerate(model.operators):
        if not set(operator.inputs) <= known:
            raise Damaged(f"operator {number} reads tensors that nothing computes before it")
        if not operator.outputs:
            raise Damaged(f"operator {number} computes nothing")
        _add(known, operator.outputs, count)
    if not set(model.outputs) <= known:
        raise Damaged("an output is computed by no operator")


def _add(known: set[int], indices: tuple[int, ...], count: int) -> None:
    for index in indices:
        if not 0 <= index < count or index in known:
            raise Damaged(f"tensor {index} of {count} is an input or result where it cannot be")
        known.add(index)


def _check_operator(operator: Operator) -> operators.Kind:
    kind = operators.BY_CODE.get(operator.code)
    if kind is None:
        raise Damaged(f"it uses operator number {operator.code}, which no mfs-edge artefact has")
    least, most = kind.inputs
    if not least <= len(operator.inputs) <= most or -1 in operator.inputs or len(operator.outputs) != 1:
        raise Damaged(f"a {kind.name} has {len(operator.inputs)} inputs and {len(operator.outputs)} results")
    if operator.options is None:
        if kind.positive:
            raise Damaged(f"a {kind.name} has no options")
        return kind
    if operator.options_type not in (0, kind.options):
        raise Damaged(f"a {kind.name} has the options of another operator")
    _check_options(operator.options, kind)
    return kind


def _check_options(options: reader.Table, kind: operators.Kind) -> None:
    for slot, letter in enumerate(kind.fields):
        value = options.numbers(slot, "int32").size if letter == "v" else options.number(slot, letter)
        if slot in kind.positive and value <= 0:
            raise Damaged(f"a {kind.name} has a stride or extent of {value}")


def _check_signature(model: Model) -> None:
    """Inputs and outputs are those of a swap or of an enrolment."""
    if flatbuffer.SIGNATURE not in model.signatures:
        raise Damaged(f"it has no signature {flatbuffer.SIGNATURE!r}: mfs-edge did not write it")
    inputs, outputs = model.signatures[flatbuffer.SIGNATURE]
    if not set(inputs.values()) <= set(model.inputs) or not set(outputs.values()) <= set(model.outputs):
        raise Damaged("its signature names tensors that are not inputs and outputs")
    if set(inputs) == {IMAGE} and set(outputs) == {SWAPPED, MASK}:
        size = _size(model.tensors[inputs[IMAGE]], 3)
        if size != _size(model.tensors[outputs[SWAPPED]], 3) or size != _size(model.tensors[outputs[MASK]], 1):
            raise Damaged("its image, swapped image and mask differ in size")
    elif set(inputs) == {CROP} and set(outputs) == {PAYLOAD}:
        _size(model.tensors[inputs[CROP]], 3)
    else:
        found = f"{', '.join(inputs)} -> {', '.join(outputs)}"
        raise Damaged(
            f"it computes {found}, not {IMAGE} -> {SWAPPED}, {MASK} or {CROP} -> {PAYLOAD}: mfs-edge did not write it"
        )


def _size(tensor: TensorEntry, channels: int) -> int:
    shape = tensor.shape
    if len(shape) != 4 or shape[0] != 1 or shape[3] != channels or shape[1] != shape[2]:
        raise Damaged(f"tensor {tensor.name!r} is {list(shape)}, not [1, S, S, {channels}]")
    if tensor.dtype not in ("float32", "uint8"):
        raise Damaged(f"tensor {tensor.name!r} is {tensor.dtype}, not float32 or uint8")
    return shape[1]
