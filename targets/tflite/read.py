"""What a ``.tflite`` holds, from its own bytes; no runtime is needed."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mfs_edge.base import bits, files
from mfs_edge.base.errors import InputError
from mfs_edge.program import IntegerTensor, Program, Step, Tensor, Value

from . import flatbuffer, operators, reader, validate
from .reader import Damaged, Model, Operator

# What a tensor's name says of its form, besides the name that it has in the float graph.
_FORM = r"\.(codes|real|quantised)$"
_INTEGERS = ("int8", "uint8", "int16", "int32", "int64", "int4", "uint4", "int2")
_OWN_ENTRIES = (flatbuffer.DIGEST, flatbuffer.MIN_RUNTIME)
# A lowering's blocks of pixels are laid out by one of these, see ``conv.py``.
_LAID_OUT_BY = ("DEPTH_TO_SPACE", "RESHAPE")
Readers = dict[int, list[Operator]]  # of each tensor


def read(path: Path) -> Program:
    """The program in ``path``.

    One of ours is checked in every respect, a stranger's only as far as it is read.

    Raises:
        InputError: it is missing, damaged, or no TFLite model.
    """
    files.require_file(path, "artefact")
    data = path.read_bytes()
    try:
        model = reader.read(data)
        if flatbuffer.DIGEST in model.metadata:
            validate.check(data, model)
        return _program(data, model, path)
    except Damaged as error:
        raise InputError(f"{path}: is not a sound TFLite artefact: {error}; compile it again") from error


def _program(data: bytes, model: Model, path: Path) -> Program:
    entries = validate.metadata(data, model)
    inputs, outputs = model.signatures.get(flatbuffer.SIGNATURE) or (
        {model.tensors[index].name: index for index in model.inputs},
        {model.tensors[index].name: index for index in model.outputs},
    )
    readers: Readers = {}
    for operator in model.operators:
        for index in set(operator.inputs):
            readers.setdefault(index, []).append(operator)
    return Program(
        format=f"TFLite, schema {model.version}",
        steps=tuple(_step(operator, model, readers) for operator in model.operators),
        values={str(index): _value(tensor) for index, tensor in enumerate(model.tensors)},
        inputs=tuple(map(str, model.inputs)),
        outputs=tuple(map(str, model.outputs)),
        takes=tuple(_edge(model, name, index) for name, index in inputs.items()),
        gives=tuple(_edge(model, name, index) for name, index in outputs.items()),
        metadata={name: text for name, text in entries.items() if name not in _OWN_ENTRIES},
        details={
            "description": model.description,
            "min_runtime": entries.get(flatbuffer.MIN_RUNTIME, "not stated"),
            "constant_bytes": _constant_bytes(model),
        },
        quantised=lambda: list(_integers(data, model, path)),
    )


def _value(tensor: reader.TensorEntry) -> Value:
    if tensor.dtype in reader.NOT_IN_NUMPY or tensor.dtype.startswith("type"):
        bits = reader.NOT_IN_NUMPY.get(tensor.dtype, 32)
    else:
        bits = 8 * np.dtype(tensor.dtype).itemsize
    shape = tensor.shape if all(size >= 0 for size in tensor.shape) else None
    return Value(shape, tensor.dtype, bits, tensor.is_constant)


def _step(operator: Operator, model: Model, readers: Readers) -> Step:
    own = operators.name_of(operator.code, operator.custom)
    content = operator.options.content() if operator.options else b""
    multiplies, added = _products(own, operator, model, readers)
    return Step(
        own=own,
        kind=operators.KINDS.get(own, own),
        inputs=tuple("" if index < 0 else str(index) for index in operator.inputs),
        outputs=tuple(map(str, operator.outputs)),
        name=model.tensors[operator.outputs[0]].name if operator.outputs else "",
        attributes=hashlib.sha256(content).hexdigest()[:16],
        multiplies=multiplies,
        added=added,
    )


def _products(own: str, operator: Operator, model: Model, readers: Readers) -> tuple[int, int]:
    """Multiplications per output element, and by zero besides."""
    shape = model.tensors[operator.inputs[1]].shape if len(operator.inputs) > 1 else ()
    if own == "FULLY_CONNECTED" and len(shape) == 2:
        return shape[1], 0  # [out, in]
    if own not in ("CONV_2D", "DEPTHWISE_CONV_2D") or len(shape) != 4:
        return 0, 0
    if own == "DEPTHWISE_CONV_2D":
        return math.prod(shape[1:3]), 0  # [1, height, width, channels]
    _, height, width, channels = shape  # [out, height, width, in]
    rows, columns = _block(operator, model, readers)
    graph = (height - rows + 1) * (width - columns + 1) * channels
    return graph, height * width * channels - graph


def _block(operator: Operator, model: Model, readers: Readers) -> tuple[int, int]:
    """The block of pixels that a CONV_2D makes at a time: its stride, if its result is laid out as such."""
    (result,) = operator.outputs
    reading = readers.get(result, [])
    laid_out = len(reading) == 1 and operators.name_of(reading[0].code) in _LAID_OUT_BY and reading[0].outputs
    if not laid_out or operator.options is None:
        return 1, 1
    columns, rows = operator.options.number(1, "i"), operator.options.number(2, "i")
    _, height, width, channels = model.tensors[result].shape
    wide = (1, rows * height, columns * width, channels // max(1, rows * columns))
    return (rows, columns) if model.tensors[reading[0].outputs[0]].shape == wide else (1, 1)


def _edge(model: Model, name: str, index: int) -> Tensor:
    tensor = model.tensors[index]
    reach = "0..255" if tensor.dtype == "uint8" else "0..1"
    return Tensor(name, tensor.dtype, tensor.shape, layout="NHWC", range=reach)


def _constant_bytes(model: Model) -> dict[str, int]:
    """Bytes of weights and other constants by type; a buffer that two tensors share counts once."""
    seen = {tensor.content: tensor.dtype for tensor in model.tensors if tensor.is_constant}
    found: Counter[str] = Counter()
    for (_, size), dtype in seen.items():
        found[dtype] += size
    return dict(found.most_common())


def _integers(data: bytes, model: Model, path: Path) -> Iterator[IntegerTensor]:
    for tensor in model.tensors:
        held = tensor.quantisation
        if held is not None and held.scale.size == 0:
            raise InputError(
                f"{path}: {tensor.name} is scaled by blocks, which is not read; inspect it without --quant"
            )
        if held is None or tensor.dtype not in _INTEGERS:  # converters leave some on floats
            continue
        name = re.sub(_FORM, "", tensor.name)
        if tensor.is_constant:
            start, size = tensor.content
            codes = bits.decode(data[start : start + size], tensor.dtype, math.prod(tensor.shape)).reshape(tensor.shape)
            zero_point = held.zero_point if held.zero_point.size else 0
            yield IntegerTensor.constant(name, codes, held.scale, zero_point, axis=held.axis, dtype=tensor.dtype)
        else:
            zero = int(held.zero_point.ravel()[0]) if held.zero_point.size else 0
            yield IntegerTensor.activation(name, tensor.dtype, float(held.scale[0]), zero)
