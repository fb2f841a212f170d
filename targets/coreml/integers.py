"""The quantised tensors of a package, from its program and weight file alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import files
from mfs_edge.target import IntegerTensor

from . import package, storage


def read(path: Path) -> list[IntegerTensor]:
    """Every ``quantize``, and every int8 constant, in the program's order.

    Raises:
        InputError: the package is damaged or foreign.
    """
    model = package.read(path)
    weights = files.require_file(path / package.WEIGHTS, "package's weights")
    return list(_tensors(list(package.operations(model)), weights))


def _tensors(operations: list[Any], weights: Path) -> Iterator[IntegerTensor]:
    constants = {o.outputs[0].name: o.attributes["val"] for o in operations if o.type == "const"}
    for operation in operations:
        name = operation.outputs[0].name
        if operation.type == "quantize":
            scale, zero_point = (
                storage.value(constants[operation.inputs[key].arguments[0].name], weights)
                for key in ("scale", "zero_point")
            )
            yield IntegerTensor.activation(name.removesuffix("_quantised"), "int8", float(scale), int(zero_point))
        elif operation.type == "constexpr_affine_dequantize":
            held = {key: storage.value(value, weights) for key, value in operation.attributes.items() if key != "name"}
            yield IntegerTensor.constant(name, held["quantized_data"], held["scale"].astype(np.float64))
