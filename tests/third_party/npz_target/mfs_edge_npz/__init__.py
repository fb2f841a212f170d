"""The graph as an archive of numpy arrays, run by numpy itself: slow, and readable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from mfs_edge.options import TargetOptions
from mfs_edge.program import Program
from mfs_edge.target import EmitOptions, Target

if TYPE_CHECKING:
    import onnx_ir as ir

GRAPH = "graph.json"


class NpzOptions(TargetOptions):
    """What only this target asks."""

    compressed: bool = Field(default=False, description="whether the archive is deflated")


class NpzTarget(Target):
    """Written by numpy.savez: every constant by its name, and the nodes as JSON."""

    name = "npz"
    title = "numpy"
    suffix = ".idnz"
    extra = "onnx"
    engine = f"{__name__}.engine"
    emit_needs = ("onnx_ir",)
    run_needs = ("numpy",)
    precisions = ("fp32",)
    io_forms = ("float32",)
    default_precision = "fp32"
    default_io = "float32"
    options = NpzOptions

    def emit(self, model: ir.Model, path: Path, options: EmitOptions) -> None:
        """Write ``model`` to ``path``."""
        graph = model.graph
        shapes = {str(v.name): [int(n) for n in v.shape or ()] for node in graph for v in node.outputs}
        shapes |= {str(v.name): [int(n) for n in v.shape or ()] for v in graph.inputs}
        nodes = [
            {
                "name": str(node.name),
                "kind": node.op_type,
                "inputs": ["" if value is None else str(value.name) for value in node.inputs],
                "output": str(node.outputs[0].name),
                "attributes": {name: _plain(found.value) for name, found in node.attributes.items()},
            }
            for node in graph
        ]
        held = {
            "nodes": nodes,
            "shapes": shapes,
            "inputs": [str(value.name) for value in graph.inputs],
            "outputs": [str(value.name) for value in graph.outputs],
            "metadata": dict(options.metadata),
        }
        arrays = {str(n): v.const_value.numpy() for n, v in graph.initializers.items() if v.const_value is not None}
        own = options.own if isinstance(options.own, NpzOptions) else NpzOptions()
        save = np.savez_compressed if own.compressed else np.savez
        with path.open("wb") as file:
            save(file, **{GRAPH: np.frombuffer(json.dumps(held).encode(), np.uint8)}, **arrays)

    def read(self, path: Path) -> Program:
        """What the archive holds."""
        from . import read

        return read.read(path)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, (tuple, list)) else value
