"""How a float32 graph becomes a QDQ graph: one step after another, each from a draft to a draft."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from mfs_edge.base.errors import UsageError
from mfs_edge.quantize import (
    bias_correction,
    centre,
    equalise,
    layout,
    merge,
    neighbours,
    qdq,
    ranges,
    samples,
    split_leaky,
    weights,
)
from mfs_edge.quantize.draft import Draft


class Step(NamedTuple):
    name: str
    run: Callable[[Draft], Draft]


RECIPE: tuple[Step, ...] = (
    # The float graph in a form that suits integers, exactly.
    Step("centre", centre.step),
    Step("merge", merge.step),
    Step("split", split_leaky.step),
    Step("sample", samples.step),
    Step("equalise", equalise.step),
    # Which tensors are integers, and what their codes stand for.
    Step("layout", layout.step),
    Step("widest", ranges.widest),
    Step("cut", ranges.cut),
    # Weights and biases as integers.
    Step("nearest", weights.to_nearest),
    Step("rounding", weights.for_outputs),
    Step("bias", bias_correction.step),
    # Written down, and proven.
    Step("write", qdq.step),
    Step("neighbours", neighbours.step),
)
# What the benchmark shows the worth of, one after another; the titles of its contenders.
SHARES: Mapping[str, tuple[str, ...]] = {
    "ours: min-max, to nearest": (),
    "+ equalisation": ("equalise",),
    "+ forms for integers": ("centre", "merge", "split"),
    "+ MSE ranges": ("cut",),
    "+ weights rounded for outputs": ("rounding",),
    "ours: int8": ("bias",),
}


def run(draft: Draft, steps: Sequence[Step] = RECIPE, *, without: Collection[str] = ()) -> Draft:
    """``draft`` after ``steps``, those named in ``without`` left out.

    Raises:
        UsageError: ``without`` names a step that is not there.
    """
    if unknown := sorted(set(without) - {step.name for step in steps}):
        raise UsageError(f"the recipe has no step {unknown[0]!r}; it has {', '.join(step.name for step in steps)}")
    for step in steps:
        if step.name not in without:
            draft = step.run(draft)
    return draft


def between(first: str, end: str | None = None) -> tuple[Step, ...]:
    """The steps from ``first`` on, up to ``end``, which is no longer one of them."""
    names = [step.name for step in RECIPE]
    return RECIPE[names.index(first) : None if end is None else names.index(end)]
