"""Folding: the authors' numbers, two forms of one function, and what an identity changes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mfs_edge import fold as folding
from mfs_edge.base.errors import CheckpointError, MissingDependency, UsageError
from mfs_edge.fold import FoldedIDN, Stage
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.networks import loading, spec
from mfs_edge.networks.idn import IDN

Arrays = Mapping[str, np.ndarray]

LOCAL = {f"Encoder.{i}.0.weight" for i in range(5)} | {f"Decoder.{i}.0.weight" for i in range(4)}
POINTWISE = {key.replace(".0.weight", ".1.weight") for key in LOCAL}


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_golden_weights(golden: Arrays, golden_folded: FoldedIDN) -> None:
    weights = golden_folded.weights()
    judged = {key.removeprefix("folded/"): value for key, value in golden.items() if key.startswith("folded/")}
    assert judged.keys() >= LOCAL | POINTWISE
    for key, expected in judged.items():
        if key.endswith(".bias"):  # the public code leaves them at zero, so the IDN has none
            assert not expected.any()
            assert key not in weights
        else:
            assert relative(weights[key], expected.reshape(weights[key].shape)) <= 1e-5, key


@pytest.mark.parametrize("form", folding.FORMS)
@pytest.mark.parametrize("size", [224, 256])
def test_golden_outputs_in_torch(golden: Arrays, golden_folded: FoldedIDN, form: str, size: int) -> None:
    idn = loading.instantiate(IDN, golden_folded.weights(form))
    image = golden[f"target{size}/image"].astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255)
    swapped, mask = idn(torch.from_numpy(image))
    np.testing.assert_allclose(swapped[0].numpy(), golden[f"target{size}/output"], atol=5e-5, rtol=0)
    np.testing.assert_allclose(mask[0].numpy(), golden[f"target{size}/mask"], atol=5e-5, rtol=0)


def test_weights_are_the_idns(golden_folded: FoldedIDN) -> None:
    expected = {k: tuple(v.shape) for k, v in IDN().state_dict().items() if not k.endswith("num_batches_tracked")}
    for form in folding.FORMS:
        assert {key: value.shape for key, value in golden_folded.weights(form).items()} == expected


# --- a second identity ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(demo_iin: Checkpoint, demo_identities: list[Identity]) -> list[FoldedIDN]:
    return [folding.fold(demo_iin, identity) for identity in demo_identities[:2]]


def differing(two: list[FoldedIDN], form: str) -> dict[str, int]:
    """Key -> how many of its numbers differ in any bit."""
    one, other = (folded.weights(form) for folded in two)
    counts = {key: int((one[key].view(np.uint32) != other[key].view(np.uint32)).sum()) for key in one}
    return {key: count for key, count in counts.items() if count}


def test_plain_form_changes_depthwise_and_pointwise_weights_and_no_heads(two: list[FoldedIDN]) -> None:
    assert differing(two, "plain").keys() == LOCAL | POINTWISE


def test_identity_local_form_changes_25_thousand_numbers(two: list[FoldedIDN]) -> None:
    counts = differing(two, "identity-local")
    assert counts.keys() == LOCAL | {"mask.0.1.weight", "final.1.weight"}
    weights = two[0].weights("identity-local")
    assert sum(weights[key].size for key in counts) == 25_264
    assert 25_000 <= sum(counts.values()) <= 25_264


def test_identity_local_pointwise_weights_are_the_checkpoints(two: list[FoldedIDN], demo_iin: Checkpoint) -> None:
    weights = two[0].weights("identity-local")
    for key in POINTWISE:
        branch, number, *_ = key.split(".")
        np.testing.assert_array_equal(weights[key], demo_iin.tensors[f"{branch}Modulation.{number}.weight"])


def test_folding_is_the_same_for_any_number_of_threads(demo_iin: Checkpoint, demo_identities: list[Identity]) -> None:
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(folding.fold(demo_iin, demo_identities[0]).weights())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for key, value in found[0].items():
        np.testing.assert_array_equal(value, found[1][key])


# --- both forms are one function -----------------------------------------------------------

GAINS = st.sampled_from([0.0, -0.0, 1e-12, -1e-6, 1e-3, -0.5, 1.0, -1.0, 2.5, -40.0])


def random_stage(rng: np.random.Generator, inner: int, outer: int, kernel: int, gain: np.ndarray) -> Stage:
    depthwise = rng.standard_normal((inner, 1, kernel, kernel)) / kernel
    return Stage(depthwise, rng.standard_normal((outer, inner)), gain)


def random_idn(seed: int, palette: list[float], heads: Arrays) -> FoldedIDN:
    rng = np.random.default_rng(seed)

    def gain(count: int) -> np.ndarray:
        return rng.choice(np.array(palette), count)

    encoder_pairs = zip(spec.ENCODER_CHANNELS, spec.ENCODER_CHANNELS[1:], strict=False)
    encoder = tuple(random_stage(rng, i, o, 4, gain(i)) for i, o in encoder_pairs)
    decoder = tuple(random_stage(rng, i, o, 3, gain(i)) for i, o in zip(spec.DECODER_IN, spec.DECODER_OUT, strict=True))
    return FoldedIDN(encoder, decoder, heads)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), palette=st.lists(GAINS, min_size=1, max_size=4))
def test_both_forms_compute_the_same(golden_iin: Checkpoint, seed: int, palette: list[float]) -> None:
    heads = {k: v for k, v in golden_iin.tensors.items() if k.startswith(("final.", "mask."))}
    folded = random_idn(seed, palette, heads)
    image = torch.from_numpy(np.random.default_rng(seed).random((1, 3, 32, 32)))
    for plain, local in zip(*(outputs(folded.exact(form), image) for form in folding.FORMS), strict=True):
        assert torch.isfinite(plain).all()
        assert float((plain - local).abs().max()) <= 1e-12 * max(1.0, float(plain.abs().max()))


def outputs(exact: Arrays, image: torch.Tensor) -> list[torch.Tensor]:
    """Swapped image, mask, and what enters the tanh and the sigmoid, which would hide differences."""
    idn = loading.instantiate(IDN, {k: np.asarray(v, np.float64) for k, v in exact.items()}, dtype=torch.float64)
    found: list[torch.Tensor] = []
    for head in (idn.mask, idn.final[7]):
        head.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    swapped, mask = idn(image)
    return [*found, swapped, mask]


def test_weights_are_the_exact_ones_rounded(golden_folded: FoldedIDN) -> None:
    for form in folding.FORMS:
        exact = golden_folded.exact(form)
        assert exact["Encoder.0.0.weight"].dtype == np.float64
        for key, value in golden_folded.weights(form).items():
            np.testing.assert_array_equal(value, exact[key].astype(np.float32))


# --- refusals ------------------------------------------------------------------------------


def test_an_unknown_form_is_refused(golden_folded: FoldedIDN) -> None:
    with pytest.raises(UsageError, match="use one of plain, identity-local"):
        golden_folded.weights("packed")


def test_overflowing_weights_are_refused(demo_iin: Checkpoint, demo_identities: list[Identity]) -> None:
    huge = Identity(demo_identities[0].embedding, np.full(spec.FEATURE_MAP, 3e38, np.float32))
    with pytest.raises(CheckpointError, match="overflows float32"):
        folding.fold(demo_iin, huge).weights()


def test_torch_is_named_when_missing(
    monkeypatch: pytest.MonkeyPatch, demo_iin: Checkpoint, demo_identities: list[Identity]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingDependency, match=r"mfs-edge\[compile\]"):
        folding.fold(demo_iin, demo_identities[0])
