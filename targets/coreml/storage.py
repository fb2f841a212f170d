"""Values stored in a package: inside the program, or in its weight file.

``MIL.proto`` for the program, ``StorageFormat.hpp`` (both coremltools) for the weight file.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from coremltools.proto import MIL_pb2

from mfs_edge.base.errors import InputError

FLOATS = {MIL_pb2.FLOAT16: np.float16, MIL_pb2.FLOAT32: np.float32}
BYTES = {MIL_pb2.INT8: np.int8, MIL_pb2.UINT8: np.uint8}
NUMPY = {**FLOATS, **BYTES, MIL_pb2.INT32: np.int32, MIL_pb2.BOOL: np.bool_}
# BlobDataType in StorageFormat.hpp
BLOB_TYPES = {1: np.float16, 2: np.float32, 3: np.uint8, 4: np.int8}
BLOB_RECORD = struct.Struct("<IIQQ")
BLOB_MAGIC = 0xDEADBEEF
STORAGE_VERSION = 2


class EvaluationError(InputError):
    """The package contradicts itself or the specification."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise EvaluationError(message)


def value(value: Any, weights: bytes) -> Any:
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


def blob(reference: Any, dtype: Any, weights: bytes) -> np.ndarray:
    """A blob of the weight file; the reference points at its record, which points at the data."""
    require(reference.fileName == "@model_path/weights/weight.bin", f"weights in {reference.fileName}")
    count, version = struct.unpack_from("<II", weights)
    require(version == STORAGE_VERSION and count > 0, f"weight file version {version} with {count} blobs")
    magic, kind, size, offset = BLOB_RECORD.unpack_from(weights, reference.offset)
    require(magic == BLOB_MAGIC, f"no blob at {reference.offset}")
    require(BLOB_TYPES.get(kind) is dtype, f"blob type {kind} where the program says {dtype.__name__}")
    require(offset + size <= len(weights), "a blob reaches beyond the file")
    return np.frombuffer(weights, dtype, count=size // np.dtype(dtype).itemsize, offset=offset)


def immediate(tensor: Any, dtype: Any) -> np.ndarray:
    """A value inside the program; fp16 and 8-bit types are stored as bytes, for want of a field (MIL.proto)."""
    field = tensor.WhichOneof("value")
    if field == "bytes":
        return np.frombuffer(tensor.bytes.values, dtype)
    return np.array(getattr(tensor, field).values, dtype)
