"""Rescale channels by powers of two, so that activations sit near 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit, statistics
from mfs_edge.graph.passes.base import GraphPass, require_absent, require_float32

# A channel's largest value comes to lie in 4..8: what is typical of it is then near 1, with
# 13 bits of headroom for other images and 14 below before half precision thins out.
PEAK = 3
# A channel's scale is 2**exponent. Beyond these limits float32 weights could under- or
# overflow; the widest under which none does is used, and under the last nothing changes.
EXPONENT_LIMITS = (40, 20, 10, 5, 0)
# Rescaled weights stay below 2**12 even where a channel is all but dead on the calibration
# images: half precision ends at 2**16.
WEIGHT_LIMIT = 12
# A channel is never amplified more than this beyond the strongest one of its tensor: it may
# come to life on another image, and the headroom is 2**13.
FLOOR = 2.0**-10
# A rescaled weight may become subnormal, and lose bits, if it is that far below its
# kernel's largest: then no float32 sum can tell.
NEGLIGIBLE = 2.0**-80

CARRIERS = ("LeakyRelu", "Resize", "Concat")
Exponents = dict[ir.Value, np.ndarray]  # per tensor [C]: log2 of what its channels are multiplied by


class Balance(GraphPass):
    """Every conv's output channels are scaled to a largest calibration value in 4..8.

    Nothing in the encoder or decoder normalises, so activations can outgrow half
    precision. LeakyReLU is positively homogeneous, resizing linear and concatenation
    indifferent, so a channel's scale can be undone in the weights of the convs that read
    it. Scales are powers of two: every float32 result is the same to the bit, its exponent
    aside. Channels that reach anything else (sigmoid, blend, an output) keep their scale.

    Requires: float32, batch norms folded (their epsilon is not homogeneous).
    Ensures: every weight stays finite in half precision; on the calibration images no
    rescaled channel exceeds 8.
    """

    rescales = True

    def __init__(self, images: Iterable[np.ndarray] | None = None, others: Sequence[ir.Model] = ()) -> None:
        """Prepare the pass.

        Args:
            images: float32 [1, 3, S, S] in 0..1; drawn faces if None. Noise is always added: scales learnt
                from a few flat pictures would overflow on the first real one.
            others: the same graph with other weights, which the scales must suit, too; left as they are.
        """
        super().__init__()
        self.images = images
        self.others = others
        self.exponents: dict[str, np.ndarray] = {}  # of what was rescaled, by name

    def requires(self, model: ir.Model) -> None:
        require_float32(model)
        try:
            require_absent(model, "BatchNormalization")
        except ir.passes.PostconditionError as error:
            raise ir.passes.PreconditionError(f"{error}; fold it first") from error

    def rewrite(self, model: ir.Model) -> bool:
        size = statistics.image_size(model)
        images = statistics.drawn_faces(size, statistics.FEW_FACES) if self.images is None else self.images
        names = [str(conv.outputs[0].name) for conv in edit.of_type(model.graph, "Conv")]
        pictures = [*images, *statistics.noise(size)]
        maxima = _largest([statistics.channel_maxima(each, pictures, names) for each in (model, *self.others)])
        graph, others = model.graph, [other.graph for other in self.others]
        exponents = next(found for found in _candidates(graph, maxima, others) if _representable(graph, found))
        self.exponents = {str(value.name): found for value, found in exponents.items()}
        for conv in edit.of_type(graph, "Conv"):
            weight, bias = _rescaled(conv, exponents)
            edit.set_weight(graph, conv, 1, weight)
            if bias is not None:
                edit.set_weight(graph, conv, 2, bias)
        return any(np.any(values) for values in exponents.values())

    def multiplier(self, conv: ir.Node) -> np.ndarray:
        """Powers of two that the pass has multiplied the weight of ``conv`` by, broadcast over [O, I / group, k, k]."""
        output, source = str(conv.outputs[0].name), conv.inputs[0]
        found = np.exp2(self.exponents.get(output, np.zeros(1)))[:, None, None, None]
        if source is not None and str(source.name) in self.exponents:
            found = found * edit.per_input(conv, np.exp2(-self.exponents[str(source.name)]))
        return np.asarray(found)


def _largest(maxima: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.max([each[name] for each in maxima], axis=0) for name in maxima[0]}


def _candidates(
    graph: ir.Graph, maxima: Mapping[str, np.ndarray], others: Sequence[ir.Graph] = ()
) -> Iterator[Exponents]:
    """Every tensor's exponents, under one limit after another."""
    for limit in EXPONENT_LIMITS:
        exponents: Exponents = {}
        for node in graph:
            if node.op_type == "Conv":
                exponents[node.outputs[0]] = _wanted(node, maxima, limit, exponents, others)
            else:
                _carry(node, exponents)
        yield exponents


def _wanted(
    conv: ir.Node, maxima: Mapping[str, np.ndarray], limit: int, exponents: Exponents, others: Sequence[ir.Graph]
) -> np.ndarray:
    """Exponents of ``conv``'s output: [O], whole numbers."""
    output = conv.outputs[0]
    largest = maxima[str(output.name)]
    if not edit.scalable(output, CARRIERS):
        return np.zeros(len(largest))
    wanted = np.clip(PEAK - _log2(np.maximum(largest, FLOOR * largest.max())), -limit, limit)
    weight, bias = _scaled_inputs(conv, exponents)
    heaviest = np.abs(weight).max(axis=(1, 2, 3))
    for other in others:
        theirs = np.abs(_scaled_inputs(conv, exponents, edit.weight(other.node(str(conv.name)), 1))[0])
        heaviest = np.maximum(heaviest, theirs.max(axis=(1, 2, 3)))
    if bias is not None:
        heaviest = np.maximum(heaviest, np.abs(bias))
    return np.minimum(wanted, np.maximum(WEIGHT_LIMIT - _log2(heaviest), -limit))


def _log2(values: np.ndarray) -> np.ndarray:
    """The least whole e with value <= 2**e; 0 for 0."""
    fraction, exponent = np.frexp(values)
    return np.where(values > 0, exponent - (fraction == 0.5), 0).astype(np.float64)


def _carry(node: ir.Node, exponents: Exponents) -> None:
    """Exponents of what ``node`` computes; what is absent from ``exponents`` is unscaled."""
    if node.op_type in CARRIERS:  # of a Resize, only the first input is data
        sources = [value for value in node.inputs if value is not None and not value.is_initializer()]
        parts = [exponents.get(value, np.zeros(_channels(value))) for value in sources]
        exponents[node.outputs[0]] = np.concatenate(parts)


def _channels(value: ir.Value) -> int:
    if value.shape is None or not isinstance(value.shape[1], int):
        raise ir.passes.PreconditionError(f"tensor {value.name} has no inferred shape")
    return value.shape[1]


def _scaled_inputs(
    conv: ir.Node, exponents: Exponents, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """``conv``'s weight (or another for it), compensated for its input's scale, and its bias; float64."""
    weight = edit.weight(conv, 1) if weight is None else weight
    source = conv.inputs[0]
    if source is not None and source in exponents:
        weight = weight * edit.per_input(conv, np.exp2(-exponents[source]))
    return weight, edit.weight(conv, 2) if len(conv.inputs) > 2 else None


def _rescaled(conv: ir.Node, exponents: Exponents) -> tuple[np.ndarray, np.ndarray | None]:
    """``conv``'s weight and bias for rescaled input and output, float64."""
    weight, bias = _scaled_inputs(conv, exponents)
    factors = np.exp2(exponents[conv.outputs[0]])
    return weight * factors[:, None, None, None], None if bias is None else bias * factors


def _representable(graph: ir.Graph, exponents: Exponents) -> bool:
    """Whether every rescaled weight and bias is exact in the graph's own precision."""
    for conv in edit.of_type(graph, "Conv"):
        for array in _rescaled(conv, exponents):
            if array is not None and not _exact(array, edit.dtype_of(conv)):
                return False
    return True


def _exact(array: np.ndarray, dtype: np.dtype) -> bool:
    with np.errstate(over="ignore", under="ignore"):
        rounded = array.astype(dtype).astype(np.float64)
    lost = rounded != array
    return bool(np.isfinite(rounded).all() and (np.abs(array[lost]) <= NEGLIGIBLE * np.abs(array).max()).all())
