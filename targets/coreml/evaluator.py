"""Run a saved ``.mlpackage`` without Core ML, operation by operation.

Written from the MIL operator specification (the operators' reference in coremltools' API
documentation, ``MIL.proto`` for the program and ``StorageFormat.hpp`` for the weight file),
not from our lowering, of which it imports nothing. It believes only what is in the package: every output is checked
against the type that the program declares for it, and rounded to it. So a half-precision
program is evaluated in simulated half precision, every intermediate rounded to fp16 (and
overflowing to infinity), each operation's inside in float32.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from coremltools.proto import MIL_pb2, Model_pb2

from mfs_edge.errors import InputError
from mfs_edge.networks import loading

Values = dict[str, Any]
Operator = Callable[..., torch.Tensor]

FLOATS = {MIL_pb2.FLOAT16: np.float16, MIL_pb2.FLOAT32: np.float32}
NUMPY = {**FLOATS, MIL_pb2.INT32: np.int32, MIL_pb2.BOOL: np.bool_}
# BlobDataType in StorageFormat.hpp
BLOB_TYPES = {1: np.float16, 2: np.float32, 3: np.uint8, 4: np.int8}
BLOB_RECORD = struct.Struct("<IIQQ")
BLOB_MAGIC = 0xDEADBEEF
STORAGE_VERSION = 2

OPERATORS: dict[str, Operator] = {}


class EvaluationError(InputError):
    """The package contradicts itself or the specification."""


def operator(function: Operator) -> Operator:
    """Register the MIL operator of the function's name."""
    OPERATORS[function.__name__] = function
    return function


def require(condition: bool, message: str) -> None:
    if not condition:
        raise EvaluationError(message)


@operator
def conv(
    *, x: Any, weight: Any, pad_type: str, strides: Any = None, pad: Any = None, dilations: Any = None,
    groups: Any = 1, bias: Any = None,
) -> torch.Tensor:  # fmt: skip
    """d_out[i] = floor((D_in[i] + pad[2i] + pad[2i+1] - (K[i]-1) * dilations[i] - 1) / strides[i]) + 1."""
    require(pad_type in ("valid", "custom"), f"conv: pad_type {pad_type!r} is not evaluated")
    top, bottom, left, right = [0, 0, 0, 0] if pad_type == "valid" else [int(p) for p in pad]
    padded = torch.nn.functional.pad(x, (left, right, top, bottom))
    steps = (1, 1) if strides is None else tuple(int(s) for s in strides)
    spread = (1, 1) if dilations is None else tuple(int(d) for d in dilations)
    return torch.nn.functional.conv2d(padded, weight, bias, stride=steps, dilation=spread, groups=int(groups))


@operator
def leaky_relu(*, x: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """x where x >= 0, alpha * x elsewhere."""
    return torch.where(x >= 0, x, alpha * x)


def align_corners_matrix(size: int, result: int) -> torch.Tensor:
    """[result, size]: linear interpolation at grid point i * (size - 1) / (result - 1)."""
    points = np.arange(result) * ((size - 1) / (result - 1))
    points = np.clip(points, 0, size - 1)
    low = np.minimum(np.floor(points).astype(int), max(size - 2, 0))
    high = np.minimum(low + 1, size - 1)
    matrix = np.zeros((result, size))
    np.add.at(matrix, (np.arange(result), low), 1 - (points - low))
    np.add.at(matrix, (np.arange(result), high), points - low)
    return torch.from_numpy(matrix)


def interpolate(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    rows, columns = align_corners_matrix(x.shape[-2], height), align_corners_matrix(x.shape[-1], width)
    return (rows @ x.double() @ columns.T).float()


@operator
def upsample_bilinear(
    *, x: torch.Tensor, scale_factor_height: Any = 1, scale_factor_width: Any = 1, align_corners: Any = True
) -> torch.Tensor:
    """H2 = floor(H1 * scale_factor_height), W2 alike; spacing (Xin - 1) / (Xout - 1) if corners align."""
    require(bool(align_corners), "upsample_bilinear: only align_corners=True is evaluated")
    height = int(np.floor(x.shape[-2] * float(scale_factor_height)))
    return interpolate(x, height, int(np.floor(x.shape[-1] * float(scale_factor_width))))


@operator
def resize_bilinear(
    *, x: torch.Tensor, target_size_height: Any = 1, target_size_width: Any = 1, sampling_mode: str = "DEFAULT"
) -> torch.Tensor:
    """STRICT_ALIGN_CORNERS: spacing (Xin - 1) / (Xout - 1)."""
    require(sampling_mode == "STRICT_ALIGN_CORNERS", f"resize_bilinear: {sampling_mode} is not evaluated")
    return interpolate(x, int(target_size_height), int(target_size_width))


@operator
def concat(*, values: list[torch.Tensor], axis: Any, interleave: Any = False) -> torch.Tensor:
    require(not bool(interleave), "concat: interleave is not evaluated")
    return torch.cat(values, dim=int(axis))


@operator
def pad(*, x: torch.Tensor, pad: Any, mode: str = "constant", constant_val: Any = 0.0) -> torch.Tensor:
    """``pad`` holds (before, after) of the last N dimensions, first of them first."""
    require(mode == "constant", f"pad: mode {mode!r} is not evaluated")
    amounts = [int(p) for p in pad]
    pairs = [amounts[i : i + 2] for i in range(0, len(amounts), 2)]
    backwards = [p for pair in reversed(pairs) for p in pair]  # torch starts at the last dimension
    return torch.nn.functional.pad(x, backwards, value=float(constant_val))


@operator
def batch_norm(
    *, x: torch.Tensor, mean: Any, variance: Any, gamma: Any = 1.0, beta: Any = 0.0, epsilon: Any = 1e-5
) -> torch.Tensor:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, over axis 1."""
    mean, variance, gamma, beta = (torch.as_tensor(v).reshape(1, -1, 1, 1) for v in (mean, variance, gamma, beta))
    return gamma * (x - mean) / torch.sqrt(variance + epsilon) + beta


@operator
def sigmoid(*, x: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + torch.exp(-x))


@operator
def tanh(*, x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x)


@operator
def add(*, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x + y


@operator
def sub(*, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x - y


@operator
def mul(*, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x * y


@operator
def real_div(*, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x / y


@operator
def cast(*, x: torch.Tensor, dtype: str) -> torch.Tensor:
    require(dtype in ("fp16", "fp32"), f"cast: {dtype} is not evaluated")
    return x.half().float() if dtype == "fp16" else x


@dataclass
class Package:
    """An opened package.

    Attributes:
        model: the protobuf ``Model``.
        weights: the weight file's bytes.
    """

    model: Model_pb2.Model
    weights: bytes

    @classmethod
    def open(cls, path: Path) -> Package:
        manifest = json.loads((path / "Manifest.json").read_text(encoding="utf-8"))
        items = manifest["itemInfoEntries"]
        model = Model_pb2.Model()
        model.ParseFromString((path / "Data" / items[manifest["rootModelIdentifier"]]["path"]).read_bytes())
        folder = next(item["path"] for item in items.values() if item["name"] == "weights")
        return cls(model, (path / "Data" / folder / "weight.bin").read_bytes())

    @property
    def function(self) -> Any:
        return self.model.mlProgram.functions["main"]

    @property
    def block(self) -> Any:
        return self.function.block_specializations[self.function.opset]

    def operations(self, kind: str | None = None) -> Iterator[Any]:
        """All operations, or those of one kind."""
        return (operation for operation in self.block.operations if kind in (None, operation.type))

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """One frame through the program.

        Args:
            image: float32 [1, 3, S, S] in 0..1; handed over as whole bytes where the package takes an image.

        Returns:
            The outputs in 0..1, float32, rounded to bytes first where the package gives an image.
        """
        with loading.one_thread():
            return self._run(image)

    def _run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        features = {
            feature.name: feature for feature in (*self.model.description.input, *self.model.description.output)
        }
        values: Values = {}
        for declared in self.function.inputs:
            given = np.rint(image * 255) if is_image(features[declared.name]) else image
            require(features[declared.name].type.WhichOneof("Type") is not None, f"{declared.name} has no feature type")
            values[declared.name] = settle(torch.from_numpy(given.astype(np.float32)), declared)
        for operation in self.block.operations:
            self.execute(operation, values)
        require(list(self.block.outputs) == [f.name for f in self.model.description.output], "outputs differ")
        return {name: finish(values[name], features[name]) for name in self.block.outputs}

    def execute(self, operation: Any, values: Values) -> None:
        """Run one operation; its outputs join ``values``."""
        require(len(operation.outputs) == 1, f"{operation.type} has {len(operation.outputs)} outputs")
        output = operation.outputs[0]
        require(output.name not in values, f"{output.name} is assigned twice")
        if operation.type == "const":
            values[output.name] = self.value(operation.attributes["val"], output)
            return
        require(operation.type in OPERATORS, f"{operation.type} is not evaluated")
        arguments = {name: self.argument(argument, values) for name, argument in operation.inputs.items()}
        try:
            result = OPERATORS[operation.type](**arguments)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise EvaluationError(f"{operation.type} {output.name}: {error}") from error
        values[output.name] = settle(result, output)

    def argument(self, argument: Any, values: Values) -> Any:
        bound = [
            values[b.name] if b.WhichOneof("binding") == "name" else self.value(b.value) for b in argument.arguments
        ]
        return bound if len(bound) > 1 else bound[0]

    def value(self, value: Any, declared: Any = None) -> Any:
        """A constant: a string, or a float or whole tensor of the declared shape."""
        kind = value.type.tensorType
        require(declared is None or declared.type == value.type, "a constant is not of its declared type")
        shape = [dimension.constant.size for dimension in kind.dimensions]
        if value.WhichOneof("value") == "blobFileValue":
            array = self.blob(value.blobFileValue, NUMPY[kind.dataType])
        elif kind.dataType == MIL_pb2.STRING:
            return value.immediateValue.tensor.strings.values[0]
        else:
            array = immediate(value.immediateValue.tensor, NUMPY[kind.dataType])
        require(array.size == np.prod(shape, dtype=int), f"a constant of shape {shape} has {array.size} values")
        wide = array.astype(np.float32) if kind.dataType in FLOATS else array
        return torch.from_numpy(wide.reshape(shape))

    def blob(self, reference: Any, dtype: Any) -> np.ndarray:
        """A blob of the weight file; the reference points at its record, which points at the data."""
        require(reference.fileName == "@model_path/weights/weight.bin", f"weights in {reference.fileName}")
        count, version = struct.unpack_from("<II", self.weights)
        require(version == STORAGE_VERSION and count > 0, f"weight file version {version} with {count} blobs")
        magic, kind, size, offset = BLOB_RECORD.unpack_from(self.weights, reference.offset)
        require(magic == BLOB_MAGIC, f"no blob at {reference.offset}")
        require(BLOB_TYPES.get(kind) is dtype, f"blob type {kind} where the program says {dtype.__name__}")
        require(offset + size <= len(self.weights), "a blob reaches beyond the file")
        return np.frombuffer(self.weights, dtype, count=size // np.dtype(dtype).itemsize, offset=offset)


def immediate(tensor: Any, dtype: Any) -> np.ndarray:
    """A value inside the program; fp16 has no field of its own and is stored as bytes (MIL.proto)."""
    field = tensor.WhichOneof("value")
    if field == "bytes":
        return np.frombuffer(tensor.bytes.values, dtype)
    return np.array(getattr(tensor, field).values, dtype)


def settle(result: torch.Tensor, declared: Any) -> torch.Tensor:
    """``result`` in the type that the program declares."""
    kind = declared.type.tensorType
    shape = tuple(dimension.constant.size for dimension in kind.dimensions)
    require(tuple(result.shape) == shape, f"{declared.name}: shape {tuple(result.shape)}, declared {shape}")
    require(kind.dataType in FLOATS, f"{declared.name}: declared type {kind.dataType}")
    return result.half().float() if kind.dataType == MIL_pb2.FLOAT16 else result.float()


def is_image(feature: Any) -> bool:
    return feature.type.WhichOneof("Type") == "imageType"


def finish(value: torch.Tensor, feature: Any) -> np.ndarray:
    array = value.numpy()
    if not is_image(feature):
        declared = tuple(feature.type.multiArrayType.shape)
        require(array.shape == declared, f"{feature.name}: shape {array.shape}, described as {declared}")
        return array
    extent = (feature.type.imageType.height, feature.type.imageType.width)
    require(array.shape[-2:] == extent, f"{feature.name}: {array.shape[-2:]} pixels, described as {extent}")
    return np.rint(np.clip(array, 0, 255)) / 255
