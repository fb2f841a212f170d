"""What a graph's tensors hold on the calibration pictures: extremes, means, and a sample.

Streams over the pictures: memory depends on the graph, not on their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import InputError
from mfs_edge.base.progress import Count
from mfs_edge.graph import edit, statistics
from mfs_edge.quantize import layout

if TYPE_CHECKING:
    from mfs_edge.quantize.draft import Draft

PIXELS = 2048  # at least so many per tensor, over all pictures
VALUES = 1 << 16  # and so many values, where there are few channels
# Unseen pictures exceed the extremes of the calibration pictures, most of all behind a
# depthwise conv, where each channel answers to one pattern (by 10 % and more in one channel
# of ten, on the demo's held-out faces).
HEADROOM = 1.1


@dataclass(frozen=True)
class Sample:
    """Of one [1, C, H, W] tensor over all pictures."""

    low: np.ndarray  # [C]
    high: np.ndarray  # [C]
    values: np.ndarray  # float32 [pixels, C], of pixels chosen at random
    means: np.ndarray  # float64 [pictures, C], over all pixels

    def scaled(self, factor: np.ndarray, offset: np.ndarray | float = 0.0) -> Sample:
        """Of the tensor (x + offset) * factor; positive factors, [C]."""
        parts = (self.low, self.high, self.values, self.means)
        return Sample(*((part + offset) * factor for part in parts))

    def through(self, function: Callable[[np.ndarray], np.ndarray]) -> Sample:
        """Of a monotonic function of arrays of any shape. (Its means are not the function's; nobody reads them.)"""
        return Sample(*(function(part) for part in (self.low, self.high, self.values, self.means)))


def step(draft: Draft) -> Draft:
    """With a sample of every tensor."""
    versions = list(draft.people.versions(draft.model))
    return replace(draft, samples=collect(versions, draft.shown, draft.progress))


def collect(
    versions: Sequence[ir.Model], pictures: Sequence[np.ndarray], progress: Count | None = None
) -> dict[str, Sample]:
    """Run a graph on every picture, [1, 3, S, S] in 0..1: a sample of everything its nodes compute.

    Args:
        versions: the graph with the weights of one identity after another.
        pictures: that each is shown.
        progress: told of each picture run.

    Raises:
        InputError: a tensor is not finite on one of the pictures.
    """
    model, total = versions[0], len(versions) * len(pictures)
    names = [str(node.outputs[0].name) for node in model.graph if node.op_type in _MEASURED]
    collectors = {name: _Collector(total) for name in names}
    for person, version in enumerate(versions):
        for number, values in enumerate(statistics.observe(version, pictures, names), start=1):
            for name, value in values.items():
                collectors[name].add(name, value[0].reshape(value.shape[1], -1), number)
            if progress is not None:
                progress(person * len(pictures) + number, total)
    samples = {name: collector.finish() for name, collector in collectors.items()}
    for conv in edit.of_type(model.graph, "Conv"):
        if edit.is_depthwise(conv):
            name = str(conv.outputs[0].name)
            samples[name] = _widened(samples[name])
    return complete(model, samples)


# The other operators only move numbers about; see ``complete``.
_MEASURED = ("Conv", "Sub", "Mul", "Add")


def complete(model: ir.Model, samples: dict[str, Sample]) -> dict[str, Sample]:
    """Add what follows from the samples there are: an activation's values from its input's, ..."""
    found = dict(samples)
    for node in model.graph:
        source = found.get(str(node.inputs[0].name)) if node.inputs[0] is not None else None
        name = str(node.outputs[0].name)
        if source is None or name in found:
            continue
        if node.op_type == "LeakyRelu":
            found[name] = source.through(_leaky(node.attributes["alpha"].as_float()))
        elif node.op_type == "Relu":
            found[name] = source.through(_leaky(0.0))
        elif node.op_type == "Resize":
            found[name] = source  # averages stay inside
        elif node.op_type == "Concat":
            found[name] = _joined([found[str(value.name)] for value in layout.operands(node)])
    return found


def _joined(samples: Sequence[Sample]) -> Sample:
    rows = min(len(sample.values) for sample in samples)
    return Sample(
        np.concatenate([sample.low for sample in samples]),
        np.concatenate([sample.high for sample in samples]),
        np.concatenate([sample.values[:rows] for sample in samples], axis=1),
        np.concatenate([sample.means for sample in samples], axis=1),
    )


def _leaky(slope: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.where(x < 0, np.asarray(slope, x.dtype) * x, x)


def _widened(sample: Sample) -> Sample:
    middle, half = (sample.high + sample.low) / 2, (sample.high - sample.low) / 2 * HEADROOM
    return Sample(middle - half, middle + half, sample.values, sample.means)


class _Collector:
    """One tensor's running sample."""

    def __init__(self, pictures: int) -> None:
        self.pictures = pictures
        self.rng = np.random.default_rng(0)
        self.low: np.ndarray | None = None
        self.high: np.ndarray | None = None
        self.values: list[np.ndarray] = []
        self.means: list[np.ndarray] = []

    def add(self, name: str, flat: np.ndarray, number: int) -> None:
        """``flat``: [C, pixels] on picture ``number``."""
        low, high = flat.min(axis=1), flat.max(axis=1)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise InputError(f"tensor {name} is not finite on calibration picture {number}; remove that picture")
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)
        wanted = -(-max(PIXELS, VALUES // len(flat)) // self.pictures)
        chosen = self.rng.integers(flat.shape[1], size=wanted) if wanted < flat.shape[1] else slice(None)
        self.values.append(flat[:, chosen].T)
        self.means.append(flat.mean(axis=1, dtype=np.float64))

    def finish(self) -> Sample:
        if self.low is None or self.high is None:
            raise InputError("there is no calibration picture; give at least one, or none at all for the drawn faces")
        low, high = self.low.astype(np.float64), self.high.astype(np.float64)
        return Sample(low, high, np.concatenate(self.values), np.stack(self.means))
