"""What a ``.tflite`` says of itself, and what the runtime here would do with it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge import target
from mfs_edge.base.errors import InputError, MissingDependency

from . import flatbuffer, operators, validate
from .runner import TfliteRunner
from .validate import Artefact

# What a tensor's name says of its form, besides the name that it has in the float graph.
_FORM = r"\.(codes|real|quantised)$"
_OWN_ENTRIES = (flatbuffer.DIGEST, flatbuffer.MIN_RUNTIME)


def describe(path: Path) -> target.Description:
    """See ``TfliteTarget.describe``.

    ``details["delegate"]`` is the coverage, or why there is none; ``details["warnings"]``
    belongs in a manifest.
    """
    artefact = validate.load(path)
    names = [operators.BY_CODE[operator.code].name for operator in artefact.model.operators]
    entries = artefact.metadata()
    delegate, warnings = _coverage(path)
    return target.Description(
        format="TFLite, schema 3",
        inputs=tuple(_edge(artefact, name, index) for name, index in artefact.inputs.items()),
        outputs=tuple(_edge(artefact, name, index) for name, index in artefact.outputs.items()),
        operators=dict(Counter(names).most_common()),
        metadata={name: text for name, text in entries.items() if name not in _OWN_ENTRIES},
        details={
            "description": artefact.model.description,
            "min_runtime": entries.get(flatbuffer.MIN_RUNTIME, "not stated"),
            "constant_bytes": _constant_bytes(artefact),
            "delegate": delegate,
            "warnings": warnings,
        },
    )


def integers(path: Path) -> list[target.IntegerTensor]:
    """See ``TfliteTarget.integers``."""
    artefact = validate.load(path)
    found = []
    for tensor in artefact.model.tensors:
        held = tensor.quantisation
        if held is None or held.scale.size == 0:
            continue
        name = re.sub(_FORM, "", tensor.name)
        if tensor.is_constant:
            start, size = tensor.content
            codes = np.frombuffer(artefact.data[start : start + size], tensor.dtype).reshape(tensor.shape)
            found.append(
                target.IntegerTensor.constant(
                    name, np.moveaxis(codes, held.axis, 0) if codes.ndim else codes, held.scale
                )
            )
        else:
            zero = int(held.zero_point.ravel()[0])
            found.append(target.IntegerTensor.activation(name, tensor.dtype, float(held.scale[0]), zero))
    return found


def _edge(artefact: Artefact, name: str, index: int) -> target.Tensor:
    tensor = artefact.tensor(index)
    reach = "0..255" if tensor.dtype == "uint8" else "0..1"
    return target.Tensor(name, tensor.dtype, tensor.shape, layout="NHWC", range=reach)


def _constant_bytes(artefact: Artefact) -> dict[str, int]:
    """Bytes of weights and other constants by type; a buffer that two tensors share counts once."""
    seen = {tensor.content: tensor.dtype for tensor in artefact.model.tensors if tensor.is_constant}
    found: Counter[str] = Counter()
    for (_, size), dtype in seen.items():
        found[dtype] += size
    return dict(found.most_common())


def _coverage(path: Path) -> tuple[dict[str, Any] | str, list[str]]:
    """What the delegate takes, and warnings.

    A file can be described without a runtime, and where the runtime is too old for it.
    """
    try:
        runner = TfliteRunner(path, threads=1)
    except (MissingDependency, InputError) as error:
        return f"not run: {error}", []
    return runner.coverage.as_details(), runner.warnings
