"""What the torch networks cost, under the same names as ``graph.cost`` counts a graph.

They are run on the meta device, which knows shapes and computes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.module_tracker import ModuleTracker

from mfs_edge.graph.cost import Cost, NodeCost, live_bytes
from mfs_edge.networks import spec
from mfs_edge.networks.arcface import ArcFace
from mfs_edge.networks.idn import IDN
from mfs_edge.networks.iin import IIN

# Operations per output element, and how many of them the paper counts; see ``graph.cost``.
PER_ELEMENT = {
    "native_batch_norm": (2, 1),
    "leaky_relu": (1, 1),
    "_prelu_kernel": (1, 1),
    "sigmoid": (1, 1),
    "tanh": (1, 1),
    "upsample_bilinear2d": (7, 4),
    "max_pool2d_with_indices": (4, 0),  # 2x2
    **dict.fromkeys(("add", "sub", "rsub", "mul", "div", "pow", "rsqrt", "clamp_min"), (1, 0)),
}
# The same per input element.
REDUCTIONS = {"mean": 1, "sum": 1, "linalg_vector_norm": 2}


def arcface() -> Cost:
    """The identity network on one 112 px crop."""
    return count(ArcFace, [(1, 3, spec.ARCFACE_INPUT, spec.ARCFACE_INPUT)])


def iin() -> Cost:
    """The identity injection network on one identity; the IDN's heads are among its parameters."""
    return count(IIN, [(1, spec.EMBEDDING), (1, *spec.FEATURE_MAP)])


def idn(size: int) -> Cost:
    """The per-frame network on one image of ``size``."""
    return count(IDN, [(1, 3, size, size)])


def count(kind: Callable[[], nn.Module], shapes: Sequence[tuple[int, ...]]) -> Cost:
    """Count one forward pass of ``kind()``, operator by operator.

    Args:
        kind: makes the network; its parameters are never allocated.
        shapes: of its inputs.
    """
    with torch.device("meta"):
        network = kind().eval().requires_grad_(False)
        inputs = [torch.empty(shape) for shape in shapes]
        counter = _Counter(network)
        with ModuleTracker() as counter.tracker, counter:
            outputs = tree_leaves(network(*inputs))
    return counter.cost(inputs, outputs)


def _key(tensor: Tensor) -> int:
    """One per storage, so that a view is the tensor it shows."""
    return id(tensor.untyped_storage())


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operator that runs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tracker = ModuleTracker()
        self.trained = {_key(tensor) for tensor in network.parameters()}
        state = [tensor for tensor in network.state_dict(keep_vars=True).values() if tensor.is_floating_point()]
        self.unread = {_key(tensor): tensor for tensor in state}
        self.alive: list[Any] = [tensor.untyped_storage() for tensor in state]  # an id is unique while its owner lives
        self.nodes: list[NodeCost] = []
        self.steps: list[tuple[list[int], list[int]]] = []
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor) and leaf.numel()]
        sources = {_key(tensor) for tensor in read}
        if any(_key(tensor) not in sources for tensor in written):  # not a mere view
            self._record(function.overloadpacket.__name__, read, written[0])
        return result

    def _record(self, operator: str, read: list[Tensor], output: Tensor) -> None:
        fresh = {_key(tensor): self.unread.pop(_key(tensor)) for tensor in read if _key(tensor) in self.unread}
        self.nodes.append(
            NodeCost(
                name=max(self.tracker.parents - {"Global"}, key=len),
                operator=operator,
                shape=tuple(output.shape),
                **self._stored(fresh),
                **_work(operator, read, output),
            )
        )
        self.steps.append(([_key(tensor) for tensor in read], [_key(output)]))
        self.sizes[_key(output)] = output.untyped_storage().nbytes()
        self.alive += [tensor.untyped_storage() for tensor in (*read, output)]

    def _stored(self, tensors: dict[int, Tensor]) -> dict[str, int]:
        return {
            "parameters": sum(tensor.numel() for key, tensor in tensors.items() if key in self.trained),
            "weight_bytes": sum(tensor.nbytes for tensor in tensors.values()),
        }

    def cost(self, inputs: list[Tensor], outputs: list[Tensor]) -> Cost:
        """What was recorded; weights that nothing read are one more line."""
        sizes = self.sizes | {_key(tensor): tensor.nbytes for tensor in inputs}
        alive = live_bytes(self.steps, sizes, inputs=map(_key, inputs), outputs=map(_key, outputs))
        nodes = [replace(node, live_bytes=live) for node, live in zip(self.nodes, alive, strict=True)]
        rest = NodeCost(name="(not run)", operator="", shape=(), **self._stored(self.unread))
        return Cost((*nodes, rest) if self.unread else tuple(nodes))


def _work(operator: str, read: list[Tensor], output: Tensor) -> dict[str, int]:
    if operator in ("convolution", "addmm"):
        # A conv's kernel is its second tensor, [O, I / groups, k, k]; a Linear's the third, [I, O].
        depth = math.prod(read[1].shape[1:]) if operator == "convolution" else len(read[2])
        macs = output.numel() * depth
        return {"macs": macs, "flops": 2 * macs, "paper": macs}
    if operator in REDUCTIONS:
        return {"flops": read[0].numel() * REDUCTIONS[operator]}
    operations, counted = PER_ELEMENT.get(operator, (0, 0))
    return {"flops": output.numel() * operations, "paper": output.numel() * counted}
