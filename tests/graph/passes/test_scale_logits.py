"""Huge logits are computed as a fraction; what comes behind the sigmoid stays the same, to the bit."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import edit, passes
from mfs_edge.graph.build import build
from tests.graph.conftest import random_images, runner

SIZE = 32


def balanced(folded: FoldedIDN, *, level: int = 1, **factors: np.ndarray | float) -> tuple[ir.Model, ir.Model]:
    """The graph with the kernels of a head multiplied, before and after."""
    weights = dict(folded.weights())
    for key, factor in factors.items():
        name = f"{key.replace('_', '.')}.weight"
        weights[name] = (weights[name] * np.asarray(factor)).astype(np.float32)
    before = passes.optimise(build(weights, size=SIZE), level=level)
    passes.run(before, [passes.FoldBatchNorm()])  # which alone is not exact to the bit
    return before, passes.balance(before.clone())


def scaled(model: ir.Model) -> list[str]:
    return [str(node.name) for node in model.graph if str(node.name).endswith(".scaled")]


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("factor", [1e5, 1e7, 1e12, np.array([1e9, 1.0, 1e-3]).reshape(3, 1, 1, 1)])
def test_it_computes_the_same_and_fits_half_precision(
    golden_folded: FoldedIDN, level: int, factor: float | np.ndarray
) -> None:
    before, after = balanced(golden_folded, level=level, final_7=factor)
    assert scaled(after)
    old, new = runner(before, optimise=False), runner(after, optimise=False)
    for image in random_images(SIZE, 3):
        expected, found = old(image), new(image)
        for name in ("swapped", "mask"):
            np.testing.assert_array_equal(found[name].view(np.uint32), expected[name].view(np.uint32))
    for value in (value for value in after.graph.initializers.values() if value.uses()):
        array = edit.constant(value)
        assert array is not None
        with np.errstate(over="ignore"):
            assert np.isfinite(array.astype(np.float16)).all()


def test_each_channel_has_an_exponent_of_its_own(golden_folded: FoldedIDN) -> None:
    _, after = balanced(golden_folded, final_7=np.array([1e9, 1.0, 1e-3]).reshape(3, 1, 1, 1))
    conv = next(node for node in after.graph if node.name == scaled(after)[0])
    heaviest = np.abs(edit.weight(conv, 1)).max(axis=(1, 2, 3))
    assert heaviest[0] < 2**10
    _, usual = balanced(golden_folded, final_7=1.0)
    same = next(node for node in usual.graph if f"{node.name}.scaled" == conv.name)
    assert heaviest[1] == np.abs(edit.weight(same, 1)).max(axis=(1, 2, 3))[1]


@pytest.mark.parametrize("factor", [1.0, 1e-6, 10.0])
def test_usual_logits_are_left_alone(golden_folded: FoldedIDN, factor: float) -> None:
    _, after = balanced(golden_folded, final_7=factor, mask_5=factor)
    assert not scaled(after)
    assert passes.ScaleLogits()(after).modified is False


def test_twice_is_once(golden_folded: FoldedIDN) -> None:
    _, after = balanced(golden_folded, mask_5=1e6)
    assert passes.ScaleLogits()(after).modified is False
