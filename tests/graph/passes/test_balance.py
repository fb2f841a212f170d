"""Half precision is made safe, and float32 stays as it was, to the bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfs_edge.base import fidelity
from mfs_edge.base.errors import PassError, UsageError
from mfs_edge.fold import FORMS, FoldedIDN
from mfs_edge.graph import edit, passes, statistics
from mfs_edge.graph.build import build
from mfs_edge.sample.pictures import exam_pictures
from tests.graph import seeds
from tests.graph.conftest import golden_image, natural_images, random_images, runner
from tests.graph.torch_evaluator import evaluate

Plain = Callable[[int], ir.Model]

HALF_DB = 60.0
OTHER_SEEDS = (1, 2, 5, 8)


def balanced_pair(weights: dict[str, np.ndarray], size: int, *, level: int = 1) -> tuple[ir.Model, ir.Model]:
    """The graph before and after balancing."""
    before = passes.optimise(build(weights, size=size), level=level)
    return before, passes.balance(before.clone())


def assert_equal_to_the_bit(before: ir.Model, after: ir.Model, images: list[np.ndarray]) -> None:
    for optimise in (False, True):
        old, new = runner(before, optimise=optimise), runner(after, optimise=optimise)
        for image in images:
            expected, found = old(image), new(image)
            for name in ("swapped", "mask"):
                np.testing.assert_array_equal(found[name].view(np.uint32), expected[name].view(np.uint32))


def half_psnr(model: ir.Model, truth: ir.Model, image: np.ndarray) -> dict[str, float]:
    """Of ``model`` computed entirely in half precision, against ``truth`` in float64."""
    expected, found = evaluate(truth, image), evaluate(model, image, half=True)
    return {name: fidelity.psnr(found[name] - expected[name]) for name in ("swapped", "mask")}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [224, 256, 96])
def test_float32_is_unchanged(golden_folded: FoldedIDN, form: str, size: int) -> None:
    before, after = balanced_pair(golden_folded.weights(form), size)
    weights = [{n: v.const_value.numpy() for n, v in model.graph.initializers.items()} for model in (before, after)]
    assert any((weights[0][name] != weights[1][name]).any() for name in weights[0])
    assert_equal_to_the_bit(before, after, random_images(size, 2) + natural_images(size)[:2])


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([0.0, 3.0, 6.0]))
def test_float32_is_unchanged_for_random_weights(seed: int, spread: float) -> None:
    before = passes.optimise(build(seeds.random_weights(seed, spread=spread), size=32))
    after = passes.balance(before.clone(), random_images(32, 3))
    assert_equal_to_the_bit(before, after, random_images(32, 4))


@pytest.mark.parametrize("size", [224, 256])
def test_golden_network_in_half_precision(golden: dict[str, np.ndarray], plain: Plain, size: int) -> None:
    image, truth = golden_image(golden, size), plain(size)
    naive = half_psnr(truth, truth, image)
    assert naive["swapped"] < 30, "the plain graph is not fit for half precision, or this test judges nothing"
    balanced = passes.balance(passes.optimise(plain(size)))
    assert min(half_psnr(balanced, truth, image).values()) > HALF_DB


@pytest.mark.parametrize("seed", OTHER_SEEDS)
def test_other_networks_in_half_precision(seed: int) -> None:
    """Mean over faces and noise, as a written file is verified."""
    weights = seeds.folded(seed).weights()
    before, after = balanced_pair(weights, 224)
    levels = [half_psnr(after, before, image) for image in exam_pictures(224)]
    for name in ("swapped", "mask"):
        assert np.mean([level[name] for level in levels]) > HALF_DB


def inflated(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same function with encoder activations 2**12 as large: far beyond half precision."""
    factor = np.float32(2**12)
    grown = {key: value.copy() for key, value in weights.items()}
    for i in range(5):
        grown[f"Encoder.{i}.1.weight"] *= factor
        if i < 4:
            grown[f"Encoder.{i + 1}.0.weight"] /= factor
    grown["Decoder.0.0.weight"] /= factor
    grown["mask.0.1.weight"] /= factor
    for i, own in ((1, 256), (2, 128), (3, 64)):
        grown[f"Decoder.{i}.0.weight"][own:] /= factor  # the skip's channels lie behind the decoder's own
    return grown


def test_what_overflows_without_it_is_saved(golden_folded: FoldedIDN) -> None:
    weights = golden_folded.weights()
    before, after = balanced_pair(inflated(weights), 96)
    image = natural_images(96)[0]
    assert not np.isfinite(evaluate(before, image, half=True)["swapped"]).all()
    # The scales find the very network that was never inflated.
    _, original = balanced_pair(weights, 96)
    for name, value in after.graph.initializers.items():
        np.testing.assert_array_equal(value.const_value.numpy(), original.graph.initializers[name].const_value.numpy())


def test_activations_sit_near_one(plain: Plain) -> None:
    model = passes.optimise(plain(96))
    images = natural_images(96) + list(statistics.noise(96))
    names = [str(node.outputs[0].name) for node in model.graph if node.op_type == "Conv"]
    pinned = {"mask.5.conv", "tail.2.conv.doubled"}  # a sigmoid reads them
    before = statistics.channel_maxima(model, images, names)
    after = statistics.channel_maxima(passes.balance(model, images), images, names)
    for name in names:
        if name in pinned:
            np.testing.assert_array_equal(after[name], before[name])
        else:
            assert after[name].max() <= 8
            assert after[name].max() > 4
            assert np.median(after[name]) > 2


def test_there_is_headroom_for_other_images(plain: Plain) -> None:
    """Calibrated on one grey image, it still computes noise and faces in half precision."""
    model = passes.balance(passes.optimise(plain(96)), [np.full((1, 3, 96, 96), 0.5, np.float32)])
    for image in random_images(96, 1) + natural_images(96)[:2]:
        assert min(half_psnr(model, plain(96), image).values()) > 50


def test_scales_are_powers_of_two(plain: Plain) -> None:
    model = passes.optimise(plain(64))
    before = {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}
    passes.balance(model)
    for name, value in model.graph.initializers.items():
        old, new = before[name], value.const_value.numpy()
        if np.issubdtype(new.dtype, np.floating) and new.ndim:
            mantissas, _ = np.frexp(new[old != 0] / old[old != 0])
            assert (mantissas == 0.5).all(), name


def test_a_dead_channel_divides_by_nothing(golden_folded: FoldedIDN) -> None:
    weights = dict(golden_folded.weights())
    weights["Encoder.1.1.weight"] = weights["Encoder.1.1.weight"].copy()
    weights["Encoder.1.1.weight"][7] = 0
    weights["Encoder.2.0.weight"] = weights["Encoder.2.0.weight"].copy()
    weights["Encoder.2.0.weight"][9] = 1e-41  # subnormal
    before, after = balanced_pair(weights, 64)
    for value in after.graph.initializers.values():
        assert np.isfinite(value.const_value.numpy()).all()
    assert_equal_to_the_bit(before, after, natural_images(64)[:2])


def test_level_0_is_folded_first(plain: Plain) -> None:
    model = passes.balance(plain(64))
    assert not any(node.op_type == "BatchNormalization" for node in model.graph)
    assert any(node.op_type == "Tanh" for node in model.graph), "nothing else is optimised"


def test_alone_it_refuses_batch_norms(plain: Plain) -> None:
    with pytest.raises(PassError, match=r"Balance broke its contract: BatchNormalization .* fold it first"):
        passes.run(plain(64), [passes.Balance()])


def test_images_that_do_not_fit(plain: Plain) -> None:
    model = passes.optimise(plain(64))
    with pytest.raises(UsageError, match="not finite on calibration image 2"):
        passes.balance(model, [random_images(64, 1)[0], np.full((1, 3, 64, 64), np.nan, np.float32)])
    with pytest.raises(
        UsageError, match=r"calibration image 1 is float32 \[1, 3, 32, 32\], not float32 \[1, 3, 64, 64\]"
    ):
        passes.balance(model, random_images(32, 1))


def test_weights_stay_within_half_precision() -> None:
    """Even where a channel is all but dead on the calibration images."""
    weights = dict(seeds.random_weights(1, spread=6.0))
    model = passes.balance(passes.optimise(build(weights, size=32)), random_images(32, 3))
    for node in model.graph:
        if node.op_type == "Conv":
            assert np.abs(edit.weight(node, 1)).max() < np.finfo(np.float16).max
