"""LiteRT, or the older ``tflite_runtime``: the one place where their interpreters are made.

It stands alone (numpy and the runtime, Python 3.9), so that it can travel to a device; see
``mfs_edge.target.Engine`` for what its methods promise.
"""

from __future__ import annotations

import importlib
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

DISTRIBUTIONS = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}  # by module
DELEGATE = "DELEGATE"
# What our files may hold and XNNPACK's delegate has no code for (delegates/xnnpack/README of
# LiteRT, and seen from the interpreter).
UNKNOWN = "PADV2"


class Engine:
    """An interpreter with XNNPACK, its runtime's default."""

    PACKAGE = "ai-edge-litert"
    MODULES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
    title = "LiteRT"

    def __init__(self, path: str, threads: int = 0, profile: bool = False) -> None:
        self.module = module = _runtime()
        self.file, self.threads = Path(path).name, threads or None
        distribution = DISTRIBUTIONS[module.__name__.split(".")[0]]
        self.title = "LiteRT" if distribution == self.PACKAGE else distribution
        self.version = metadata.version(distribution)
        self._take(module.Interpreter(model_path=path, num_threads=self.threads))
        self._inputs = {entry["name"]: entry for entry in self.interpreter.get_input_details()}
        self._outputs = self.interpreter.get_output_details()
        self.inputs = {
            name: (tuple(int(n) for n in entry["shape"]), np.dtype(entry["dtype"]).name)
            for name, entry in self._inputs.items()
        }
        self.feeds: dict[str, Any] = {}

    def _take(self, interpreter: Any) -> None:
        interpreter.allocate_tensors()
        self.interpreter = interpreter

    def switch(self, contents: dict[str, bytes]) -> None:
        """The artefact with other numbers in it; tensors keep their places. The old interpreter goes on until then."""
        self._take(self.module.Interpreter(model_content=contents[self.file], num_threads=self.threads))

    def feed(self, feeds: dict[str, Any]) -> None:
        self.feeds = feeds

    def infer(self) -> None:
        """The inputs anew for every frame, as an app has to: the interpreter reuses their memory."""
        for name, value in self.feeds.items():
            self.interpreter.set_tensor(self._inputs[name]["index"], value)
        self.interpreter.invoke()

    def fetch(self) -> dict[str, Any]:
        return {entry["name"]: self.interpreter.get_tensor(entry["index"]) for entry in self._outputs}

    def layers(self) -> list[dict[str, Any]]:
        """Nothing: LiteRT's Python interpreter has no profiler."""
        return []

    def execution(self) -> str:
        """What XNNPACK takes, and how many operators compute on integers."""
        nodes, taken, _ = self._shares()
        integer = sum("int8" in self._dtypes(node["outputs"]) for node in nodes)
        types = f"{integer} of them on int8" if integer else "on float32"
        return f"{len(taken)} of {len(nodes)} operators in XNNPACK, {types}"

    def coverage(self) -> dict[str, Any]:
        """How many operators the delegate took, in how many pieces, and which it left and why.

        What stays outside runs on TFLite's own kernels: slower, and an int8 convolution on an old
        runtime is slower than float.
        """
        nodes, taken, pieces = self._shares()
        left = [node for number, node in enumerate(nodes) if number not in taken]
        inside = {kind for number in taken for kind in self._types_of(nodes[number])}
        asked = {kind for node in nodes for kind in self._types_of(node)}
        why = [self._reason(node, pieces > 0, "int8" in asked - inside) for node in left]
        return {
            "delegate": "XNNPACK",
            "nodes": len(nodes),
            "delegated": len(taken),
            "partitions": pieces,
            "outside": [str(node["op_name"]) for node in left],
            "warning": "" if pieces == 1 and not left else _warning(len(nodes), len(taken), pieces, why),
        }

    def _shares(self) -> tuple[list[dict[str, Any]], set[int], int]:
        """All operators, the numbers of those inside the delegate, and in how many pieces.

        The interpreter lists the operators it replaced beside the DELEGATE nodes that replaced
        them; a piece is what lies between its DELEGATE node's inputs and outputs.
        """
        listed = self.interpreter._get_ops_details()  # in every version since 2.5; there is no public way
        nodes = [node for node in listed if node["op_name"] != DELEGATE]
        pieces = [node for node in listed if node["op_name"] == DELEGATE]
        producer = {int(out): number for number, node in enumerate(nodes) for out in node["outputs"]}
        taken: set[int] = set()
        for piece in pieces:
            stop = {int(index) for index in piece["inputs"]}
            todo = [int(index) for index in piece["outputs"]]
            while todo:
                tensor = todo.pop()
                if tensor in stop or tensor not in producer or producer[tensor] in taken:
                    continue
                taken.add(producer[tensor])
                todo.extend(int(index) for index in nodes[producer[tensor]]["inputs"] if index >= 0)
        return nodes, taken, len(pieces)

    def _types_of(self, node: dict[str, Any]) -> set[str]:
        return self._dtypes([*node["inputs"], *node["outputs"]])

    def _dtypes(self, indices: Any) -> set[str]:
        if not hasattr(self, "_kinds"):
            details = self.interpreter.get_tensor_details()
            self._kinds = {int(entry["index"]): np.dtype(entry["dtype"]).name for entry in details}
        return {self._kinds[int(index)] for index in indices if int(index) in self._kinds}

    def _reason(self, node: dict[str, Any], applied: bool, int8_refused: bool) -> str:
        if int8_refused and (not applied or "int8" in self._types_of(node)):
            return "this runtime's XNNPACK takes no int8; pip install ai-edge-litert in its place, or use an fp32 file"
        if not applied:
            return "this runtime was built without XNNPACK, or it could not start"
        if node["op_name"] == UNKNOWN:
            return "XNNPACK has no such operator"
        return "XNNPACK does not take it with these shapes, types or scales"


def _warning(nodes: int, taken: int, pieces: int, reasons: list[str]) -> str:
    """One line, if the file falls out of the delegate."""
    why = "; ".join(f"{count} left out as {reason}" for reason, count in Counter(reasons).most_common())
    return (
        f"runs {taken if pieces else 'none'} of the {nodes} operators inside XNNPACK ({pieces} partitions), so this "
        f"file is slow on it: {why or 'it is split'}"
    )


def _runtime() -> Any:
    """The interpreter's module of the first runtime that is installed."""
    reasons = []
    for name in Engine.MODULES:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            reasons.append(str(error))
    raise ImportError(f"{reasons[0]}; tflite-runtime will do on old devices")
