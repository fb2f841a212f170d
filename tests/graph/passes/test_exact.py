"""A pass changes how the network is computed, never what."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import passes
from mfs_edge.graph.build import build
from mfs_edge.graph.passes.base import GraphPass
from tests.graph import seeds
from tests.graph.conftest import Images, Outputs, difference, golden_image, natural_images, random_images, runner
from tests.graph.torch_evaluator import evaluate

Plain = Callable[[int], ir.Model]

SIZES = (224, 256, 96)
TOLERANCE = 1e-5
EXACT = 1e-12  # in float64
# What must run before a pass for it to have anything to do.
NEEDS: dict[type[GraphPass], tuple[type[GraphPass], ...]] = {passes.DropDead: (passes.BlendForm,)}
ALONE = passes.LEVELS[1]


def applied(model: ir.Model, kind: type[GraphPass]) -> ir.Model:
    """``model`` after ``kind`` alone, which must have changed something."""
    for needed in NEEDS.get(kind, ()):
        assert needed()(model).modified
    assert kind()(model).modified
    return passes.run(model, [])


@functools.cache
def all_images(size: int) -> Images:
    return random_images(size) + natural_images(size)


@pytest.fixture(scope="module")
def expected(plain: Plain) -> Callable[[int], list[Outputs]]:
    """The unoptimised graph's outputs for ``all_images``."""

    @functools.cache
    def compute(size: int) -> list[Outputs]:
        return [run(image) for run in [runner(plain(size))] for image in all_images(size)]

    return compute


def worst(model: ir.Model, size: int, expected: list[Outputs]) -> float:
    run = runner(model)
    return max(difference(run(image), outputs) for image, outputs in zip(all_images(size), expected, strict=True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ALONE)
def test_alone(plain: Plain, expected: Callable[[int], list[Outputs]], kind: type[GraphPass], size: int) -> None:
    assert worst(applied(plain(size), kind), size, expected(size)) <= TOLERANCE


@pytest.mark.parametrize("size", SIZES)
def test_together(plain: Plain, expected: Callable[[int], list[Outputs]], size: int) -> None:
    assert worst(passes.optimise(plain(size)), size, expected(size)) <= TOLERANCE


@pytest.mark.parametrize("size", SIZES)
def test_together_in_the_identity_local_form(
    golden_folded: FoldedIDN, expected: Callable[[int], list[Outputs]], size: int
) -> None:
    model = passes.optimise(build(golden_folded.weights("identity-local"), size=size))
    assert worst(model, size, expected(size)) <= TOLERANCE


@pytest.mark.parametrize("size", SIZES)
def test_float64(golden_folded: FoldedIDN, size: int) -> None:
    model = double(golden_folded.weights(), size)
    image = natural_images(size)[0]
    expected = evaluate(model, image)
    assert difference(evaluate(passes.optimise(model), image), expected) <= EXACT


@pytest.mark.parametrize("kind", ALONE)
def test_float64_alone(golden_folded: FoldedIDN, kind: type[GraphPass]) -> None:
    model = double(golden_folded.weights(), 96)
    image = natural_images(96)[0]
    expected = evaluate(model, image)
    assert difference(evaluate(applied(model, kind), image), expected) <= EXACT


def double(weights: dict[str, np.ndarray], size: int) -> ir.Model:
    return build({key: value.astype(np.float64) for key, value in weights.items()}, size=size)


@pytest.mark.parametrize("size", [224, 256])
def test_golden_outputs(golden: dict[str, np.ndarray], plain: Plain, size: int) -> None:
    outputs = runner(passes.optimise(plain(size)))(golden_image(golden, size))
    for name, key in (("swapped", "output"), ("mask", "mask")):
        assert np.abs(outputs[name][0] - golden[f"target{size}/{key}"]).max() <= 5e-5


# --- random weights --------------------------------------------------------------------------
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([0.0, 1.0, 3.0, 6.0]))
def test_random_weights(seed: int, spread: float) -> None:
    """Whatever the weights, up to 10**12 apart: exact in float64, and as accurate as before in float32."""
    weights = seeds.random_weights(seed, spread=spread)
    image = random_images(32, 1)[0]
    model = double(weights, 32)
    truth = evaluate(model, image)
    # A network of random scales can magnify rounding itself; what a change of 1e-14 in the weights does is no defect.
    noise = difference(evaluate(double(perturbed(weights, seed), 32), image), truth) * (1e-14 / PERTURBATION)
    assert difference(evaluate(passes.optimise(model), image), truth) <= max(EXACT, noise)
    plain = build(weights, size=32)
    before = difference(runner(plain)(image), truth)
    assert difference(runner(passes.optimise(plain))(image), truth) <= max(TOLERANCE, 4 * before)


PERTURBATION = 1e-9


def perturbed(weights: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {key: value * (1 + PERTURBATION * rng.standard_normal(value.shape)) for key, value in weights.items()}
