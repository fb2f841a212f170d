"""Half precision: every Conv weight becomes a float16 value, chosen so that outputs change least.

Rounding to nearest leaves 71 dB of the golden network's picture and 91 of the demo's, this 84
and 96 (``benchmarks/quantize.py``). The graph stays float32, and what a target stores in float16
is then exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit, passes, statistics
from mfs_edge.quantize import people, rounding, scalars
from mfs_edge.quantize.calibration import evenly
from mfs_edge.quantize.coding import Coding
from mfs_edge.quantize.people import People
from mfs_edge.quantize.taps import Inputs, seen

PICTURES = 16  # at most; sums need few, as each has many pixels
EACH = 4  # at least, of each identity where there are many


def prepare(model: ir.Model, images: Sequence[np.ndarray] | None = None) -> ir.Model:
    """The graph of :func:`base`, for the identity that ``model`` holds; ``images`` are float32 [1, 3, S, S] each."""
    return base(model, images)[0]


def base(
    model: ir.Model, images: Sequence[np.ndarray] | None = None, persons: People | None = None
) -> tuple[ir.Model, Coding]:
    """A copy of ``model`` for half precision: balanced, so that whatever computes in half survives, and rounded.

    Args:
        model: a float32 graph of any level.
        images: float32 [1, 3, S, S] each, in 0..1, of which a few are used; drawn faces if None.
        persons: the identities that it is made for, in units of ``model``; None is the one that it holds.

    Returns:
        The graph, and how the weights that an identity owns are stored in it.
    """
    if images is None:
        pictures = list(statistics.drawn_faces(statistics.image_size(model), statistics.FEW_FACES))
    else:
        pictures = [images[i] for i in evenly(len(images), PICTURES)]
    folded = passes.run(model.clone(), [passes.FoldBatchNorm()])
    persons = People.alone(folded) if persons is None else persons
    levelled, persons = scalars.level(folded, persons, pictures, powers=True)
    balanced, persons = _balanced(levelled, persons, pictures)
    return balanced, round_weights(balanced, pictures, persons)


def _balanced(model: ir.Model, persons: People, pictures: Sequence[np.ndarray]) -> tuple[ir.Model, People]:
    """Both in units in which no identity's activations or weights leave half precision; ``model`` is changed."""
    balance = passes.Balance(pictures, others=list(persons.versions(model))[1:])
    balanced = passes.run(model, [balance, passes.ScaleLogits()])
    owned = people.convs(balanced.graph)
    return balanced, persons.scaled({name: balance.multiplier(conv) for name, conv in owned.items()})


def round_weights(model: ir.Model, images: Sequence[np.ndarray], persons: People | None = None) -> Coding:
    """Round the weights of ``model`` to float16 values, in place.

    Args:
        model: float32, batch norms folded.
        images: float32 [1, 3, S, S] each, in 0..1; samples of all are in memory at once. Noise is
            always added: what few flat pictures leave idle must not drift.
        persons: the identities that it is made for; None is the one that it holds.

    Returns:
        How owned weights are stored. A shared weight beyond float16 is left as it is: its target says so.
    """
    persons = People.alone(model) if persons is None else persons
    noise = statistics.noise(statistics.image_size(model))
    found = _over_all(model, [*images, *noise], persons)
    owned = {conv: name for name, conv in people.convs(model.graph).items()}
    parts = []
    for conv, inputs in found.items():
        weight = edit.weight(conv, 1)
        fits = np.abs(weight).max() <= rounding.LARGEST_HALF
        if conv in owned:
            own = None if owned[conv] in persons.energies else inputs.moments.astype(np.float32)
            part = persons.part(owned[conv], conv, "float16", moments=own)
            parts.append(part)
            if fits:
                edit.set_weight(model.graph, conv, 1, part.coded(persons.weights[0][part.name]))
        elif fits:
            _round(model.graph, conv, weight, inputs)
    return Coding.ordered(parts)


def _over_all(model: ir.Model, images: Sequence[np.ndarray], persons: People) -> dict[ir.Node, Inputs]:
    """What every Conv reads, on average over the identities; few pictures of each of many."""
    count = len(persons.weights)
    chosen = [images[i] for i in evenly(len(images), max(EACH, len(images) // count))]
    found: list[dict[str, Inputs]] = []
    for version in persons.versions(model):
        found.append({str(conv.name): inputs for conv, inputs in seen(version, chosen).items()})
    names = {str(conv.name): conv for conv in edit.of_type(model.graph, "Conv")}
    return {conv: _mean([each[name] for each in found]) for name, conv in names.items()}


def _mean(inputs: Sequence[Inputs]) -> Inputs:
    means, moments = [each.mean for each in inputs], [each.moments for each in inputs]
    return Inputs(np.mean(means, axis=0), np.mean(moments, axis=0))


def _round(graph: ir.Graph, conv: ir.Node, weight: np.ndarray, inputs: Inputs) -> None:
    groups = len(inputs.mean)
    exact = weight.reshape(groups, len(weight) // groups, -1)
    found = rounding.compensated(exact, inputs.moments, rounding.halves)
    shift = np.einsum("gok,gk->go", exact - found, inputs.mean).reshape(-1)
    edit.set_weight(graph, conv, 1, found.reshape(weight.shape))
    if len(conv.inputs) > 2:  # passes have moved the others' biases to where they cost nothing
        edit.set_weight(graph, conv, 2, edit.conv_bias(conv) + shift)
