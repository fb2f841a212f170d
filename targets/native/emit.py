"""The graph as a folder of C: read, plan, pack, write."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx_ir as ir

from mfs_edge.graph import ir_program
from mfs_edge.program import Tensor
from mfs_edge.target import EmitOptions

from . import plan, read, schedule, text, weights

HERE = Path(__file__).parent
FIXED = ("idn_pool.h", "idn_pool.c", "main.c", "CMakeLists.txt")


def write(model: ir.Model, path: Path, options: EmitOptions) -> None:
    """Write ``model`` as the folder ``path``.

    Raises:
        LoweringError: a node has no place in the C.
    """
    planned = plan.make(schedule.read(model))
    packed = weights.pack(planned)
    made = {name: (HERE / name).read_bytes() for name in FIXED}
    made["idn.h"] = text.header(planned, packed, options.precision).encode()
    made["idn.c"] = text.source(planned, packed).encode()
    made["idn.weights"] = packed.dumps()
    about = {
        "size": planned.network.size,
        "precision": options.precision,
        "io": options.io,
        "stages": len(planned.stages),
        "arena": {"shared": 4 * planned.arena, "worker": 4 * planned.scratch},
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(made.items())},
        "metadata": dict(options.metadata),
    }
    takes, gives = _tensors(planned.network.size, options.io)
    made[read.INDEX] = read.dumps(ir_program.program(model), about, takes, gives).encode()
    path.mkdir()
    for name, content in made.items():
        (path / name).write_bytes(content)


def _tensors(size: int, io: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    def tensor(name: str, channels: int) -> Tensor:
        if io == "uint8":
            return Tensor(name, "uint8", (1, size, size, channels), layout="NHWC", range="0..255")
        return Tensor(name, "float32", (1, channels, size, size), layout="NCHW", range="0..1")

    return (tensor("image", 3),), (tensor("swapped", 3), tensor("mask", 1))
