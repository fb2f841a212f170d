"""The recipe is a list, and its steps are pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge.base.errors import UsageError
from mfs_edge.graph import edit
from mfs_edge.quantize import execute, quantise, recipe
from mfs_edge.quantize.draft import Draft
from mfs_edge.quantize.recipe import Step


def written(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


def test_no_step_changes_what_it_is_given(small: ir.Model, calibrating: list[np.ndarray]) -> None:
    draft = Draft(small, calibrating[:2])
    for step in recipe.RECIPE:
        before = written(draft.model)
        after = step.run(draft)
        assert written(draft.model) == before, step.name
        draft = after
    assert written(draft.model) == written(quantise(small, calibrating[:2]).model)


FORMS = ("centre", "merge", "split", "equalise")


@pytest.mark.parametrize(
    "without", [(), ("bias",), ("bias", "rounding"), ("cut",), FORMS, (*FORMS, "cut", "rounding", "bias")]
)
def test_what_improves_can_be_left_out(
    small: ir.Model, calibrating: list[np.ndarray], without: tuple[str, ...]
) -> None:
    draft = recipe.run(Draft(small, calibrating[:2]), without=without)
    assert any(node.op_type == "QuantizeLinear" for node in draft.model.graph)
    assert 0 < draft.neighbours <= 128  # whatever rounds the weights keeps them so
    outputs = execute.outputs(draft.model, calibrating[:1])[0]
    assert all(np.isfinite(value).all() for value in outputs.values())


def test_a_step_that_is_not_there_is_named(small: ir.Model) -> None:
    with pytest.raises(UsageError, match="no step 'magic'"):
        recipe.run(Draft(small, []), without=["magic"])


def halved(draft: Draft) -> Draft:
    """A step as CONTRIBUTING describes it (and a bad one: it halves every weight)."""
    model = draft.model.clone()
    for conv in edit.of_type(model.graph, "Conv"):
        edit.set_weight(model.graph, conv, 1, edit.weight(conv, 1) / 2)
    return replace(draft, model=model)


def test_a_step_is_one_line(small: ir.Model, calibrating: list[np.ndarray]) -> None:
    mine = (*recipe.between("centre", "sample"), Step("halved", halved), *recipe.between("sample"))
    draft = recipe.run(Draft(small, calibrating[:2]), mine)
    assert written(draft.model) != written(recipe.run(Draft(small, calibrating[:2])).model)
    assert written(draft.model) == written(
        recipe.run(halved(recipe.run(Draft(small, calibrating[:2]), mine[:3])), mine[4:]).model
    )
