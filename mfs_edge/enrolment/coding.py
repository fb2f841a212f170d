"""The end of an enrolment graph: the identity's tensors as the numbers of a pack's payload, and back.

A plan says in which order, layout and type; a base has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from mfs_edge.base.errors import InputError
from mfs_edge.base.version import __version__
from mfs_edge.enrolment.build import Trunk
from mfs_edge.enrolment.layers import Layers
from mfs_edge.graph.build import IR_VERSION, OPSET
from mfs_edge.networks import spec
from mfs_edge.target import PAYLOAD

DTYPES = ("float32", "float16")
KEPT = (1, 0, 2, 3)  # a depthwise kernel [C, 1, k, k] is computed as [1, C, k, k]
_OFFICIAL = (0, 1, 2, 3)


@dataclass(frozen=True)
class Run:
    """One tensor of a payload.

    Attributes:
        key: the IDN's official one, of a tensor of four axes.
        axes: the official axes in the order in which they lie in the payload.
        factors: what the tensor is multiplied by, broadcast against its official shape; None for nothing.
    """

    key: str
    axes: tuple[int, int, int, int] = _OFFICIAL
    factors: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Official."""
        return spec.local_shapes()[self.key]


@dataclass(frozen=True)
class Plan:
    """A payload: the runs one behind the other, as numbers of one type."""

    runs: tuple[Run, ...]
    dtype: str = "float32"

    @property
    def count(self) -> int:
        """Numbers in the payload."""
        return sum(prod(run.shape) for run in self.runs)


def plain() -> Plan:
    """The 25,264 numbers as they are, float32, in the order and the layout of the official keys."""
    return Plan(tuple(Run(key) for key in spec.local_shapes()))


def coded(trunk: Trunk, plan: Plan) -> ir.Model:
    """The whole graph: ``crop`` [1, 3, 224, 224] in, ``payload`` [N] out."""
    net = trunk.net
    parts = [_flat(net, run, trunk.tensors[run.key]) for run in plan.runs]
    real = plan.dtype == "float32"
    end = net.op(PAYLOAD if real else f"{PAYLOAD}.real", "Concat", *parts, axis=0)
    kind = ir.DataType.from_numpy(np.dtype(plan.dtype))
    if not real:
        end = net.op(PAYLOAD, "Cast", end, to=kind.value)
    end.dtype, end.shape = kind, ir.Shape([plan.count])
    graph = net.graph("enrol", [trunk.crop], [end], {"": OPSET})
    model = ir.Model(graph, ir_version=IR_VERSION, producer_name="mfs-edge", producer_version=__version__)
    return ShapeInferencePass()(model).model


def _flat(net: Layers, run: Run, value: ir.Value) -> ir.Value:
    """[n], in the layout of the payload."""
    kept = _kept(run)
    if run.factors is not None:
        constant = net.constant(f"{run.key}.factors", run.factors.transpose(kept))
        value = net.op(f"{run.key}.scaled", "Mul", value, constant)
    order = [kept.index(axis) for axis in run.axes]
    if order != list(_OFFICIAL):
        value = net.op(f"{run.key}.laid_out", "Transpose", value, perm=order)
    size = net.constant("flat", np.array([-1]), np.dtype(np.int64))
    return net.op(f"{run.key}.flat", "Reshape", value, size)


def _kept(run: Run) -> tuple[int, ...]:
    return KEPT if run.shape[1] == 1 else _OFFICIAL


def decoded(payload: np.ndarray, plan: Plan) -> Mapping[str, np.ndarray]:
    """The identity's tensors, float32 under their official keys and shapes, of a payload [N].

    Raises:
        InputError: it has another length.
    """
    if payload.shape != (plan.count,):
        raise InputError(f"a payload of shape {list(payload.shape)} is not the {plan.count} numbers of this plan")
    found, start = {}, 0
    for run in plan.runs:
        size = prod(run.shape)
        laid_out = payload[start : start + size].reshape([run.shape[axis] for axis in run.axes]).astype(np.float32)
        tensor = laid_out.transpose(np.argsort(run.axes))
        found[run.key] = np.ascontiguousarray(tensor if run.factors is None else tensor / run.factors, np.float32)
        start += size
    return found
