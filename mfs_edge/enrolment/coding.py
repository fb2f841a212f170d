"""The end of an enrolment graph: the identity's tensors as the numbers of a pack's payload, and back.

A base says how it stores an identity (:mod:`mfs_edge.quantize.coding`): constant factors, a scalar per stage
by its expected energy, a rounding, and in which order the runs lie. The same arithmetic is written here as nodes.
Two roundings differ: halves and the tail's 1x1 are rounded to nearest, each alone, and a scalar may be
any number where a pack's would be a power of two. What the network computes is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.base.runs import TYPES
from mfs_edge.base.version import __version__
from mfs_edge.enrolment.build import Trunk
from mfs_edge.enrolment.layers import Layers
from mfs_edge.graph.build import IR_VERSION, OPSET
from mfs_edge.networks import spec
from mfs_edge.quantize import neighbours
from mfs_edge.quantize.coding import Coding, Energy, Part
from mfs_edge.quantize.rounding import MAX_CODE
from mfs_edge.target import PAYLOAD

if TYPE_CHECKING:
    from mfs_edge.base.runs import Run as Place

KEPT = (1, 0, 2, 3)  # a depthwise kernel [C, 1, k, k] is computed as [1, C, k, k]
_OFFICIAL = (0, 1, 2, 3)


@dataclass(frozen=True)
class Run:
    """One tensor of a payload: the IDN's official key, and its axes in the order in which they lie."""

    key: str
    axes: tuple[int, ...] = _OFFICIAL

    @property
    def shape(self) -> tuple[int, ...]:
        """Official."""
        return dict(spec.local_shapes())[self.key]


@dataclass(frozen=True)
class Plan:
    """A payload: the runs one behind the other, as numbers of one type."""

    parts: tuple[Part, ...]  # how each tensor is stored, in the order in which data flows
    runs: tuple[Run, ...]
    dtype: str = "float32"

    @property
    def count(self) -> int:
        """Numbers in the payload."""
        return sum(prod(run.shape) for run in self.runs)

    @property
    def bytes(self) -> int:
        """Of the payload."""
        return self.count * np.dtype(self.dtype).itemsize

    def part(self, key: str) -> Part:
        """How the tensor of that key is stored."""
        return next(part for part in self.parts if part.name == key)


def plain() -> Plan:
    """The 25,264 numbers as they are, float32, in the order and the layout of the official keys."""
    one = np.ones((1, 1, 1, 1))
    shapes = dict(spec.local_shapes())
    parts = tuple(Part(key, (("", max(shapes[key][:2])),), one, one, "float32") for key in spec.OWNED)
    return Plan(parts, tuple(Run(key) for key in shapes))


def of_base(coding: Coding, places: Sequence[Place], source: str) -> Plan:
    """The payload of packs for one artefact of a base.

    Args:
        coding: of the base.
        places: the artefact's recorded runs.
        source: the artefact, for messages.

    Raises:
        UsageError: its runs hold numbers of several types, or in several files.
    """
    held = sorted((place for place in places if place.dtype in TYPES), key=lambda place: (place.file, place.offset))
    kinds = sorted({place.dtype for place in held})
    if len(kinds) != 1 or {place.tensor for place in held} != set(spec.OWNED):
        raise UsageError(
            f"{source}: stores an identity as {' and '.join(kinds) or 'nothing'}; an enrolment writes numbers of one "
            "type: give a base in fp32, fp16 or int8"
        )
    return Plan(coding.parts, tuple(Run(place.tensor, place.axes) for place in held), kinds[0])


def coded(trunk: Trunk, plan: Plan) -> ir.Model:
    """The whole graph: ``crop`` [1, 3, 224, 224] in, ``payload`` [N] out."""
    net = trunk.net
    scalars: dict[str, ir.Value] = {}
    real = {part.name: _real(net, part, trunk.tensors[part.name], scalars) for part in plan.parts}
    flat = [_flat(net, run, real[run.key]) for run in plan.runs]
    whole = plan.dtype == "float32" and all(part.stored == "float32" for part in plan.parts)
    end = net.op(PAYLOAD if whole else f"{PAYLOAD}.real", "Concat", *flat, axis=0)
    if not whole:
        end = _rounded(net, end, plan)
    end.dtype, end.shape = ir.DataType.from_numpy(np.dtype(plan.dtype)), ir.Shape([plan.count])
    graph = net.graph("enrol", [trunk.crop], [end], {"": OPSET})
    model = ir.Model(graph, ir_version=IR_VERSION, producer_name="mfs-edge", producer_version=__version__)
    return ShapeInferencePass()(model).model


def _real(net: Layers, part: Part, value: ir.Value, scalars: dict[str, ir.Value]) -> ir.Value:
    """As :meth:`Part.real`, in steps of what it is stored in, int8's inside of its codes; in the kept layout."""
    value = _times(net, f"{part.name}.passed", value, part.passes, part)
    incoming = _incoming(net, part, scalars)
    if incoming is not None:
        value = net.op(f"{part.name}.incoming", "Mul", value, incoming)
    if part.energy is not None:
        scalars[part.name] = _inverse(net, part.name, value, part.energy)
        value = net.op(f"{part.name}.level", "Div", value, scalars[part.name])
    steps = 1.0 if part.scale is None else part.scale.astype(np.float64)[:, None, None, None]
    value = _times(net, f"{part.name}.stored", value, part.factors / steps, part)
    if part.stored != "int8":
        return value
    return _clipped(net, f"{part.name}.clipped", _settled(net, part, value) if part.dense else value)


def _clipped(net: Layers, name: str, value: ir.Value) -> ir.Value:
    """What an int8 code can be, -128 apart."""
    return net.op(name, "Sub", value, _beyond(net, name, value))


def _beyond(net: Layers, name: str, value: ir.Value) -> ir.Value:
    """How far values lie outside of codes, in operators that every target has: relu(x - 127) - relu(-x - 127)."""
    most = net.constant("code.most", float(MAX_CODE))
    turned = net.op(f"{name}.turned", "Mul", value, net.constant("minus", -1.0))
    above, below = (
        net.leaky(f"{name}.{side}", net.op(f"{name}.{side}.by", "Sub", x, most), 0.0)
        for side, x in (("above", value), ("below", turned))
    )
    return net.op(f"{name}.beyond", "Sub", above, below)


def _settled(net: Layers, part: Part, value: ir.Value) -> ir.Value:
    """Weights [O, I, 1, 1] whose neighbours sum to what no CPU saturates at; each gives half of what is too much.

    As :func:`neighbours.settled`, to 127 and not ``LIMIT``, as rounding may add one.
    """
    inputs = sum(count for _, count in part.sources)
    pairs = neighbours.pairs(inputs, 1, 1)
    member = np.zeros((pairs.shape[1], inputs, 1, 1))
    member[np.arange(pairs.shape[1]), pairs] = 1
    sums = net.conv(f"{part.name}.pairs", value, member)
    excess = _beyond(net, f"{part.name}.pairs", sums)
    halves = net.conv(f"{part.name}.halves", excess, member.swapaxes(0, 1) / 2)
    return net.op(f"{part.name}.settled", "Sub", value, halves)


def _times(net: Layers, name: str, value: ir.Value, factor: np.ndarray, part: Part) -> ir.Value:
    if np.all(factor == 1):
        return value
    return net.op(name, "Mul", value, net.constant(f"{name}.by", _as_kept(factor, part)))


def _as_kept(array: np.ndarray, part: Part) -> np.ndarray:
    return array.transpose(KEPT) if dict(spec.local_shapes())[part.name][1] == 1 else array


def _incoming(net: Layers, part: Part, scalars: Mapping[str, ir.Value]) -> ir.Value | None:
    """What undoes the scalars of the stages that it reads, [1, C, 1, 1] or one for all; None where there are none."""
    if not any(name in scalars for name, _ in part.sources):
        return None
    if len(part.sources) == 1:
        return scalars[part.sources[0][0]]
    pieces = []
    for number, (name, count) in enumerate(part.sources):
        ones = net.constant(f"ones.{count}", np.ones((1, count, 1, 1)))
        pieces.append(net.op(f"{part.name}.from.{number}", "Mul", ones, scalars[name]) if name in scalars else ones)
    return net.op(f"{part.name}.from", "Concat", *pieces, axis=1)


def _inverse(net: Layers, name: str, value: ir.Value, energy: Energy) -> ir.Value:
    """1 / :meth:`Energy.scalar` of a kernel [1, C, k, k]: the root of its share of the wanted energy, [1, 1, 1, 1].

    A kernel's energy is a sum of squares of what a depthwise conv makes of it, whose own kernels are roots of the
    moments.
    """
    channels, taps = energy.moments.shape[:2]
    side = round(taps**0.5)
    values, vectors = np.linalg.eigh(energy.moments.astype(np.float64))
    weight = energy.shares.astype(np.float64) / energy.wanted
    roots = vectors.swapaxes(1, 2) * np.sqrt(np.maximum(values, 0) * weight[:, None])[:, :, None]  # [C, taps, taps]
    kernel = net.constant(f"{name}.energy.roots", roots.reshape(channels * taps, 1, side, side))
    shape = {"kernel_shape": [side, side], "strides": [1, 1], "pads": [0] * 4, "group": channels}
    parts = net.op(f"{name}.energy.parts", "Conv", value, kernel, **shape)
    squares = net.op(f"{name}.energy.squares", "Mul", parts, parts)
    total = net.conv(f"{name}.energy.sum", squares, np.ones((1, channels * taps, 1, 1)))
    return net.op(f"{name}.energy.root", "Sqrt", total)


def _rounded(net: Layers, value: ir.Value, plan: Plan) -> ir.Value:
    if plan.dtype == "int8":
        step, zero = net.constant("code.step", 1.0), net.constant("code.zero", 0, np.dtype(np.int8))
        return net.op(PAYLOAD, "QuantizeLinear", value, step, zero)
    if plan.dtype == "float16":
        return net.op(PAYLOAD, "Cast", value, to=ir.DataType.FLOAT16.value)
    half = net.op(f"{PAYLOAD}.half", "Cast", value, to=ir.DataType.FLOAT16.value)
    return net.op(PAYLOAD, "Cast", half, to=ir.DataType.FLOAT.value)


def _flat(net: Layers, run: Run, value: ir.Value) -> ir.Value:
    """[n], in the layout of the payload."""
    kept = KEPT if run.shape[1] == 1 else _OFFICIAL
    order = [kept.index(axis) for axis in run.axes]
    if order != list(_OFFICIAL):
        value = net.op(f"{run.key}.laid_out", "Transpose", value, perm=order)
    size = net.constant("flat", np.array([-1]), np.dtype(np.int64))
    return net.op(f"{run.key}.flat", "Reshape", value, size)


def decoded(payload: np.ndarray, plan: Plan) -> Mapping[str, np.ndarray]:
    """The identity's tensors, float32 under their official keys and shapes, of a payload [N].

    They carry the stages' scalars, which cancel in the network.

    Raises:
        InputError: it has another length.
    """
    if payload.shape != (plan.count,):
        raise InputError(f"a payload of shape {list(payload.shape)} is not the {plan.count} numbers of this plan")
    found, start = {}, 0
    for run in plan.runs:
        size, part = prod(run.shape), plan.part(run.key)
        laid_out = payload[start : start + size].reshape([run.shape[axis] for axis in run.axes]).astype(np.float64)
        steps = 1.0 if part.scale is None else part.scale.astype(np.float64)[:, None, None, None]
        tensor = laid_out.transpose(np.argsort(run.axes)) * steps / (part.passes * part.factors)
        found[run.key] = np.ascontiguousarray(tensor, np.float32)
        start += size
    return found
