"""Values stored in a package: inside the program, or in its weight file.

``MIL.proto`` (coremltools) for the program; the weight file is coremltools' own to read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from coremltools.libmilstoragepython import _BlobStorageReader
from coremltools.proto import MIL_pb2

from mfs_edge.base.errors import InputError

FLOATS = {MIL_pb2.FLOAT16: np.float16, MIL_pb2.FLOAT32: np.float32}
BYTES = {MIL_pb2.INT8: np.int8, MIL_pb2.UINT8: np.uint8}
WHOLE: dict[Any, Any] = {**BYTES, MIL_pb2.INT32: np.int32}
NUMPY = {**FLOATS, **WHOLE, MIL_pb2.BOOL: np.bool_}
READ: dict[Any, str] = {
    **{np.float16: "read_fp16_data", np.float32: "read_float_data"},
    **{np.int8: "read_int8_data", np.uint8: "read_uint8_data"},
}


class EvaluationError(InputError):
    """The package contradicts itself or the specification."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise EvaluationError(message)


def value(value: Any, weights: Path) -> Any:
    """A constant as an array of its declared shape, or a string.

    Args:
        value: MIL.proto's ``Value``.
        weights: the weight file.
    """
    kind = value.type.tensorType
    shape = [dimension.constant.size for dimension in kind.dimensions]
    if value.WhichOneof("value") == "blobFileValue":
        array = blob(value.blobFileValue, NUMPY[kind.dataType], weights)
    elif kind.dataType == MIL_pb2.STRING:
        return value.immediateValue.tensor.strings.values[0]
    else:
        array = immediate(value.immediateValue.tensor, NUMPY[kind.dataType])
    require(array.size == np.prod(shape, dtype=int), f"a constant of shape {shape} has {array.size} values")
    return array.reshape(shape)


def blob(reference: Any, dtype: Any, weights: Path) -> np.ndarray:
    """A blob of the weight file, [N], by coremltools' own reader, which checks its record and its type."""
    require(reference.fileName == "@model_path/weights/weight.bin", f"weights in {reference.fileName}")
    try:
        found: np.ndarray = getattr(_BlobStorageReader(str(weights)), READ[dtype])(reference.offset)
    except (KeyError, RuntimeError, ValueError) as error:
        raise EvaluationError(f"{weights}: no {dtype.__name__} at {reference.offset} ({error})") from error
    return found.view(dtype)  # half precision arrives as uint16


def immediate(tensor: Any, dtype: Any) -> np.ndarray:
    """A value inside the program, [N]; fp16 and 8-bit types are stored as bytes, for want of a field (MIL.proto)."""
    field = tensor.WhichOneof("value")
    if field == "bytes":
        return np.frombuffer(tensor.bytes.values, dtype)
    return np.array(getattr(tensor, field).values, dtype)
