"""Exact rewrites of the graph, in the order they run."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from mfs_edge.base.errors import PassError, UsageError
from mfs_edge.graph.passes.balance import Balance
from mfs_edge.graph.passes.base import Checker, GraphPass
from mfs_edge.graph.passes.blend_form import BlendForm
from mfs_edge.graph.passes.drop_dead import DropDead
from mfs_edge.graph.passes.fold_batch_norm import FoldBatchNorm
from mfs_edge.graph.passes.fold_depthwise_bias import FoldDepthwiseBias
from mfs_edge.graph.passes.fold_normalisation import FoldNormalisation
from mfs_edge.graph.passes.hoist_pointwise import HoistPointwise
from mfs_edge.graph.passes.scale_logits import ScaleLogits
from mfs_edge.graph.passes.share_subexpressions import ShareSubexpressions
from mfs_edge.graph.passes.tanh_to_sigmoid import TanhToSigmoid

__all__ = [
    "LEVELS",
    "Balance",
    "BlendForm",
    "DropDead",
    "FoldBatchNorm",
    "FoldDepthwiseBias",
    "FoldNormalisation",
    "GraphPass",
    "HoistPointwise",
    "ScaleLogits",
    "ShareSubexpressions",
    "TanhToSigmoid",
    "balance",
    "optimise",
    "run",
]

# What runs at each --optimize level, in this order. Batch norms go first, so that the
# convs they leave can be hoisted and doubled; dead code goes last.
LEVELS: dict[int, tuple[type[GraphPass], ...]] = {
    0: (),
    1: (
        FoldBatchNorm,
        HoistPointwise,
        ShareSubexpressions,
        TanhToSigmoid,
        BlendForm,
        FoldNormalisation,
        FoldDepthwiseBias,
        DropDead,
    ),
}


def optimise(model: ir.Model, *, level: int = 1, checker: Checker | None = None) -> ir.Model:
    """Run the passes of ``level`` on ``model``, in place.

    Args:
        model: a float32 graph as ``build`` makes it.
        level: a key of ``LEVELS``.
        checker: compares the model before and after each pass, for tests and diagnosis.

    Returns:
        The same model, shapes inferred.

    Raises:
        UsageError: an unknown level.
        PassError: a pass broke its contract; names the pass and, with ``checker``, the node
            and the first tensor that differs.
    """
    if level not in LEVELS:
        raise UsageError(f"optimisation level {level} is unknown; there are {', '.join(map(str, LEVELS))}")
    return run(model, [kind() for kind in LEVELS[level]], checker=checker)


def balance(model: ir.Model, images: Iterable[np.ndarray] | None = None, *, checker: Checker | None = None) -> ir.Model:
    """Make ``model`` fit for half precision, in place; what it computes in float32 stays the same to the bit.

    Args:
        model: a float32 graph of any level. Batch norms still there are folded first (that
            alone is exact only to rounding): their epsilon stands in the way.
        images: float32 [1, 3, S, S] each, in 0..1, to see how large activations get; drawn
            faces and noise if None.
        checker: as in :func:`optimise`.

    Returns:
        The same model. Every tensor that only convs read, at most through LeakyRelu, Resize
        and Concat, has its channels scaled by powers of two to a largest value in 4..8. A conv before
        a sigmoid whose sums half precision could not hold computes a fraction of them.
    """
    return run(model, [FoldBatchNorm(), Balance(images), ScaleLogits()], checker=checker)


def run(model: ir.Model, passes: list[GraphPass], *, checker: Checker | None = None) -> ir.Model:
    """Run ``passes`` in order; see :func:`optimise`."""
    for graph_pass in passes:
        if checker is not None:
            checker.before(model)
        try:
            changed = graph_pass(model).modified
        except ir.passes.InvariantError as error:
            raise PassError(f"pass {graph_pass.title} broke its contract: {error}") from error
        if checker is not None:
            checker.after(model, graph_pass, changed=changed)
    return ShapeInferencePass()(model).model
