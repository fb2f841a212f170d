"""Run a saved ``.mlpackage`` without Core ML, operation by operation.

It imports nothing of our lowering and believes only what is in the package: every output is
checked against the type that the program declares for it, and rounded to it. So a
half-precision program is evaluated in simulated half precision, every intermediate rounded to
fp16 (and overflowing to infinity), each operation's inside in float32. See ``mil_operators``
for the operators, ``storage`` for the constants.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from coremltools.proto import MIL_pb2, Model_pb2
from google.protobuf.message import DecodeError

from mfs_edge.base import damage, files
from mfs_edge.base.threads import one_thread

from . import read, storage
from .mil_operators import OPERATORS
from .storage import BYTES, FLOATS, WHOLE, EvaluationError, require

Values = dict[str, Any]
STORED = "constexpr_affine_dequantize"
UNITS = " (on int8 on the Neural Engine of A17 Pro, M4 and later; in half precision elsewhere)"
CONSTEXPR = "constexpr_"  # their arguments are constants, and stored like a const's


@dataclass
class Package:
    """An opened package.

    Attributes:
        model: the protobuf ``Model``.
        weights: the weight file.
        path: the package, for messages.
    """

    model: Model_pb2.Model
    weights: Path
    path: Path

    @classmethod
    def open(cls, path: Path) -> Package:
        """The package at ``path``.

        Raises:
            InputError: a part is missing or damaged, or it is no ML Program.
        """
        read.check_manifest(path)
        file = files.require_file(path / read.MODEL, "model in the package")
        try:
            model = Model_pb2.Model.FromString(file.read_bytes())
        except DecodeError as error:
            raise EvaluationError(f"{file}: is damaged ({error}); {read.AGAIN}") from error
        return cls(model, path / read.WEIGHTS, path)

    @property
    def function(self) -> Any:
        functions = self.model.mlProgram.functions  # a map that makes what it is asked for
        require("main" in functions, "the program has no function main")
        return functions["main"]

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
        with one_thread(), damage.told_of(self.path, "Core ML"):
            return self._run(image)

    def execution(self) -> str:
        """What the package asks of Core ML; which unit takes it is the device's choice."""
        with damage.told_of(self.path, "Core ML"):
            return self._execution()

    def _execution(self) -> str:
        made = {operation.outputs[0].name: operation.type for operation in self.operations()}
        convolutions = list(self.operations("conv"))
        weights, both = (
            sum(
                all(made.get(o.inputs[key].arguments[0].name) == kind for key, kind in wanted.items())
                for o in convolutions
            )
            for wanted in ({"weight": STORED}, {"weight": STORED, "x": "dequantize"})
        )
        asked = f"{len(convolutions)} convolutions, {weights} with int8 weights, {both} also with int8 activations"
        return f"not run, evaluated operation by operation; it asks Core ML for {asked}" + (UNITS if both else "")

    def _run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        features = {
            feature.name: feature for feature in (*self.model.description.input, *self.model.description.output)
        }
        values: Values = {}
        for declared in self.function.inputs:
            require(declared.name in features, f"{declared.name} is not described")
            given = np.rint(image * 255) if is_image(features[declared.name]) else image
            require(features[declared.name].type.WhichOneof("Type") is not None, f"{declared.name} has no feature type")
            values[declared.name] = settle(torch.from_numpy(given.astype(np.float32)), declared)
        for operation in self.block.operations:
            self.execute(operation, values)
        require(all(name in values for name in self.block.outputs), "an output is never made")
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
        if operation.type.startswith(CONSTEXPR):
            arguments |= {name: self.value(held) for name, held in operation.attributes.items() if name != "name"}
        try:
            result = OPERATORS[operation.type](**arguments)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise EvaluationError(f"{operation.type} {output.name}: {error}") from error
        values[output.name] = settle(result, output)

    def argument(self, argument: Any, values: Values) -> Any:
        names = [b.name for b in argument.arguments if b.WhichOneof("binding") == "name"]
        require(bool(argument.arguments), "an argument is bound to nothing")
        require(all(name in values for name in names), f"one of {names} is read before it is made")
        bound = [
            values[b.name] if b.WhichOneof("binding") == "name" else self.value(b.value) for b in argument.arguments
        ]
        return bound if len(bound) > 1 else bound[0]

    def value(self, value: Any, declared: Any = None) -> Any:
        """A constant: a string, or a tensor of the declared shape, floats and bytes as float32."""
        require(declared is None or declared.type == value.type, "a constant is not of its declared type")
        found = storage.value(value, self.weights)
        if isinstance(found, str):
            return found
        wide = value.type.tensorType.dataType in (*FLOATS, *BYTES)
        return torch.from_numpy(found.astype(np.float32) if wide else found.copy())


def settle(result: torch.Tensor, declared: Any) -> torch.Tensor:
    """``result`` in the type that the program declares, of any shape; it must be the one declared."""
    kind = declared.type.tensorType
    shape = tuple(dimension.constant.size for dimension in kind.dimensions)
    require(tuple(result.shape) == shape, f"{declared.name}: shape {tuple(result.shape)}, declared {shape}")
    if kind.dataType in WHOLE:
        limits = np.iinfo(WHOLE[kind.dataType])
        inside = bool(((result >= limits.min) & (result <= limits.max) & (result == torch.round(result))).all())
        require(inside, f"{declared.name}: values that are no {limits.dtype}")
        return result.float()
    require(kind.dataType in FLOATS, f"{declared.name}: declared type {kind.dataType}")
    return result.half().float() if kind.dataType == MIL_pb2.FLOAT16 else result.float()


def is_image(feature: Any) -> bool:
    return feature.type.WhichOneof("Type") == "imageType"


def finish(value: torch.Tensor, feature: Any) -> np.ndarray:
    """An output [1, C, S, S] as the package describes it: an image's 0..255 become 0..1, by whole bytes."""
    array = value.numpy()
    if not is_image(feature):
        declared = tuple(feature.type.multiArrayType.shape)
        require(array.shape == declared, f"{feature.name}: shape {array.shape}, described as {declared}")
        return array
    extent = (feature.type.imageType.height, feature.type.imageType.width)
    require(array.shape[-2:] == extent, f"{feature.name}: {array.shape[-2:]} pixels, described as {extent}")
    return np.rint(np.clip(array, 0, 255)) / 255
