"""The graph as a folder of C: read, plan, pack, write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge.base.errors import InputError, LoweringError
from mfs_edge.base.version import __version__
from mfs_edge.program import WEIGHT, IntegerTensor, Tensor
from mfs_edge.target import ENROL, EmitOptions

from . import NativeOptions, described, embed, plan, read, schedule, text, weights
from .enrolment import emit as enrolment
from .schedule import Network

if TYPE_CHECKING:
    import onnx_ir as ir

HERE = Path(__file__).parent
# Whatever a description that is none leads to.
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, IndexError, RecursionError)
WEIGHTS = "idn.weights"
FIXED = ("idn_frame.h", "idn_pool.h", "idn_pool.c", "main.c", "CMakeLists.txt")


def write(model: ir.Model, path: Path, options: EmitOptions) -> None:
    """Write ``model`` as the folder ``path``.

    Raises:
        LoweringError: a node has no place in the C.
    """
    if options.task == ENROL:
        enrolment.write(model, path, options)
        return
    planned, packed = prepared(model, options.precision)
    embedded = isinstance(options.own, NativeOptions) and options.own.embed
    made = sources(planned, packed, options.precision, embedded=embedded)
    if embedded:
        made[embed.FILE] = embed.source(packed.dumps(), packed)
    else:
        made[WEIGHTS] = packed.dumps()
    made[read.INDEX] = index(model, planned, packed, options, made, embedded=embedded)
    path.mkdir()
    for name, content in made.items():
        (path / name).write_bytes(content)


def prepared(model: ir.Model, precision: str) -> tuple[plan.Plan, weights.Weights]:
    """How the C for ``model`` is cut, and its weights.

    Raises:
        LoweringError: a node has no place in the C.
    """
    network = schedule.for_precision(schedule.read(model), precision)
    try:
        described.check(schedule.describe(network), precision)
    except ValueError as error:
        raise LoweringError(f"the graph is not of the family that target c takes: {error}") from error
    planned = plan.make(network)
    return planned, weights.pack(planned)


def index(
    model: ir.Model,
    planned: plan.Plan,
    packed: weights.Weights,
    options: EmitOptions,
    made: Mapping[str, bytes],
    *,
    embedded: bool,
) -> bytes:
    """``idn.json``: what ``read`` reads, with the hashes of the other files, which are ``made``."""
    from mfs_edge.graph import ir_program  # onnx_ir: who runs a folder vouches for it without

    about = {
        "size": planned.network.size,
        "precision": options.precision,
        "io": options.io,
        "embedded": embedded,
        "weights": packed.total,
        "stages": len(planned.stages),
        "arena": {"shared": 4 * planned.arena, "worker": 4 * planned.scratch},
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(made.items())},
        "metadata": dict(options.metadata),
        "network": schedule.describe(planned.network),
    }
    takes, gives = _tensors(planned.network.size, options.io)
    integers = list(_integers(planned.network))
    return read.dumps(ir_program.program(model), about, takes, gives, integers).encode()


def sources(planned: plan.Plan, packed: weights.Weights, precision: str, *, embedded: bool) -> dict[str, bytes]:
    """Every file that a compiler reads, but embedded weights; they depend on the network's shape alone."""
    made = {name: (HERE / name).read_bytes() for name in FIXED}
    made["idn.h"] = text.header(planned, packed, precision, embedded=embedded).encode()
    made["idn.c"] = text.source(planned, packed).encode()
    made["idn_frame.c"] = text.frame(planned.network.size).encode()
    return made


def vouch(path: Path) -> None:
    """Raise unless the C in ``path`` is, to the byte, what this version writes for such a network.

    A folder may come from a stranger, and compiling and calling what is in it would run their code. The
    source follows from the description in ``idn.json``, so it is made again and compared.

    Raises:
        InputError: something in the folder was not written by this version of mfs-edge.
    """
    index = read.index_of(path)
    enrols = index.name == read.ENROLMENT
    try:
        made = enrolment.again(path) if enrols else _again(path)
    except DAMAGE as error:
        raise InputError(f"{index}: is damaged ({type(error).__name__}: {error}); {read.AGAIN}") from error
    found = {name.name for name in path.iterdir()}
    data = {enrolment.WEIGHTS if enrols else WEIGHTS} if embed.FILE not in made else set()
    wrong = sorted(found - made.keys() - {index.name} - data)
    wrong += sorted(
        name for name, content in made.items() if name not in found or (path / name).read_bytes() != content
    )
    if wrong:
        raise InputError(
            f"{path / wrong[0]}: is not what mfs-edge {__version__} writes for this network, and is not compiled or "
            "called: it may come from a stranger, or from another version; compile it again"
        )


def _again(path: Path) -> dict[str, bytes]:
    held = json.loads((path / read.INDEX).read_bytes())
    described.check(held["network"], held["precision"])
    planned, embedded = plan.make(schedule.blank(held["network"])), bool(held["embedded"])
    packed = weights.pack(planned)
    made = sources(planned, packed, str(held["precision"]), embedded=embedded)
    if embedded:  # whose numbers are whatever they are, and whose text is nothing but numbers
        made[embed.FILE] = embed.source(embed.data((path / embed.FILE).read_bytes()), packed)
    return made


def _integers(network: Network) -> Iterator[IntegerTensor]:
    """What is rounded, by the names of the float graph."""
    for pair in (*network.encoder, *network.decoder, *network.mask):
        if (product := pair.integer) is None:
            continue
        yield IntegerTensor.activation(pair.nodes[0], "int8", product.step, product.zero)
        yield IntegerTensor.constant(pair.nodes[1], product.codes, product.scale / product.step)
        yield IntegerTensor.constant(f"{pair.nodes[1]}.bias", product.bias, product.scale)
    for block in network.owned:
        if block.coded is not None:  # all that its codes can hold: the index is the same for every identity
            scales = tuple(map(float, block.coded.scale))
            reach = 127 * max(scales)
            yield IntegerTensor(block.nodes[0], WEIGHT, "int8", scales, 0, -reach, reach)


def _tensors(size: int, io: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    def tensor(name: str, channels: int) -> Tensor:
        if io == "uint8":
            return Tensor(name, "uint8", (1, size, size, channels), layout="NHWC", range="0..255")
        return Tensor(name, "float32", (1, channels, size, size), layout="NCHW", range="0..1")

    return (tensor("image", 3),), (tensor("swapped", 3), tensor("mask", 1))
