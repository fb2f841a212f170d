"""numpy as a runtime. It stands alone (Python 3.9), so that it can travel to a device."""

from __future__ import annotations

import json
from typing import Any

import numpy as np


class Engine:
    """Runs the nodes one after another."""

    PACKAGE = "numpy"
    MODULES = ("numpy",)
    title = "numpy"

    def __init__(self, path: str, threads: int = 0, profile: bool = False) -> None:
        with np.load(path, allow_pickle=False) as stored:
            self.values = {name: stored[name] for name in stored.files}
        held = json.loads(self.values.pop("graph.json").tobytes())
        self.version = np.__version__
        self.nodes, self.outputs = held["nodes"], held["outputs"]
        self.inputs = {name: (tuple(held["shapes"][name]), "float32") for name in held["inputs"]}

    def feed(self, feeds: dict[str, Any]) -> None:
        self.values.update(feeds)

    def infer(self) -> None:
        for node in self.nodes:
            given = [self.values[name] if name else None for name in node["inputs"]]
            self.values[node["output"]] = OPERATORS[node["kind"]](given, node["attributes"])

    def fetch(self) -> dict[str, Any]:
        return {name: self.values[name].copy() for name in self.outputs}

    def coverage(self) -> None:
        """There is no delegate."""

    def layers(self) -> list[dict[str, Any]]:
        """There is no profiler."""
        return []

    def execution(self) -> str:
        return f"{len(self.nodes)} operators on float32"


def conv(given: list[Any], attributes: dict[str, Any]) -> Any:
    """Tap by tap."""
    x, weight = given[:2]
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    down, across = attributes.get("strides", (1, 1))
    groups = attributes.get("group", 1)
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    outputs, inner, rows, columns = weight.shape
    height, width = (x.shape[2] - rows) // down + 1, (x.shape[3] - columns) // across + 1
    total = np.zeros((groups, outputs // groups, height * width), np.float32)
    for row in range(rows):
        for column in range(columns):
            window = x[0, :, row : row + down * height : down, column : column + across * width : across]
            taps = weight[:, :, row, column].reshape(groups, outputs // groups, inner)
            total += taps @ window.reshape(groups, inner, height * width)
    found = total.reshape(1, outputs, height, width)
    return found + given[2][:, None, None] if len(given) > 2 else found


def up(given: list[Any], attributes: dict[str, Any]) -> Any:
    """x2 bilinear, corners aligned."""
    x = given[0]
    for axis in (2, 3):
        size = x.shape[axis]
        places = np.arange(2 * size) * (size - 1) / (2 * size - 1)
        low = np.minimum(places.astype(int), size - 2)
        share = (places - low).astype(np.float32).reshape([-1, 1] if axis == 2 else [-1])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, low + 1, axis) * share
    return x


def pad(given: list[Any], attributes: dict[str, Any]) -> Any:
    begins, ends = np.split(np.asarray(given[1]), 2)
    fill = float(given[2]) if len(given) > 2 and given[2] is not None else 0.0
    return np.pad(given[0], list(zip(begins.tolist(), ends.tolist())), constant_values=fill)  # noqa: B905


OPERATORS = {
    "Conv": conv,
    "Resize": up,
    "Pad": pad,
    "LeakyRelu": lambda given, a: np.where(given[0] < 0, np.float32(a.get("alpha", 0.01)) * given[0], given[0]),
    "Sigmoid": lambda given, a: 1 / (1 + np.exp(-given[0])),
    "Concat": lambda given, a: np.concatenate(given, a["axis"]),
    "Add": lambda given, a: given[0] + given[1],
    "Sub": lambda given, a: given[0] - given[1],
    "Mul": lambda given, a: given[0] * given[1],
}
