"""Inputs that are nearly right: each ends in a refusal or the right identity, never in another one that passes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mfs_edge import sample
from mfs_edge.base.errors import CheckpointError, IdentityError, MfsEdgeError
from mfs_edge.face.crop import arcface_input
from mfs_edge.load import checkpoint, identity
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.networks import spec
from mfs_edge.sample import seeded, weights

State = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def arcface() -> Embedder:
    return Embedder(weights.checkpoint("arcface"))


@pytest.fixture(scope="module")
def who(arcface: Embedder) -> Identity:
    return arcface(arcface_input(sample.identity_picture(0), "identity 0"))


# --- feature maps in other layouts -------------------------------------------------------------

MAPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda m: m,
    "a batch of one": lambda m: m[None],
    "a trailing one": lambda m: m[..., None],
    "column-major": np.asfortranarray,
    "float64": lambda m: m.astype(np.float64),
    "channels last": lambda m: m.transpose(1, 2, 0),
    "channels last, columns first": lambda m: m.transpose(2, 1, 0),
    "channels between": lambda m: m.transpose(1, 0, 2),
    "channels last in a batch": lambda m: m.transpose(1, 2, 0)[None],
    "pixels in a row": lambda m: m.reshape(512, 49),
    "a row per pixel": lambda m: m.reshape(512, 49).T,
    "flat": np.ravel,
    "flat, channels last": lambda m: m.transpose(1, 2, 0).ravel(),
    "reshaped, not transposed": lambda m: m.reshape(7, 7, 512),
    "other channels": lambda m: m.reshape(256, 7, 14),
}


@pytest.mark.parametrize("form", ["npz", "npz and arcface", "npy and arcface"])
@pytest.mark.parametrize("name", list(MAPS))
def test_feature_maps(tmp_path: Path, who: Identity, arcface: Embedder, name: str, form: str) -> None:
    array = MAPS[name](who.feature_map)
    path = tmp_path / f"id.{form[:3]}"
    if form.startswith("npz"):
        np.savez(path, embedding=who.embedding, feature_map=array)
    else:
        np.save(path, array)
    try:
        found = identity.load(path, arcface if "arcface" in form else None)
    except IdentityError:
        assert name not in list(MAPS)[:5]  # the first five are what they should be
        return
    np.testing.assert_array_equal(found.feature_map, who.feature_map)
    np.testing.assert_allclose(found.embedding, who.embedding, atol=1e-6)


FLAT: dict[str, Callable[[Identity], np.ndarray]] = {
    "map before embedding": lambda who: np.concatenate([who.feature_map.ravel(), who.embedding]),
    "map channels last": lambda who: np.concatenate([who.embedding, who.feature_map.transpose(1, 2, 0).ravel()]),
    "rows and columns exchanged": lambda who: np.concatenate(
        [who.embedding, who.feature_map.transpose(0, 2, 1).ravel()]
    ),
    "mirrored": lambda who: np.concatenate([who.embedding, who.feature_map[:, :, ::-1].ravel()]),
}


@pytest.mark.parametrize("name", list(FLAT))
def test_flat_identities_whose_order_the_shape_cannot_tell_are_judged_by_arcface(
    tmp_path: Path, who: Identity, arcface: Embedder, name: str
) -> None:
    path = tmp_path / "id.npy"
    np.save(path, FLAT[name](who))
    with pytest.raises(IdentityError, match="is not that of its feature map"):
        identity.load(path, arcface)


# --- checkpoints -------------------------------------------------------------------------------


def paddle(found: Checkpoint) -> State:
    """As Paddle lays it out."""
    keys = seeded.paddle_shapes(found.network)
    return {k: t.T if t.ndim == 2 else t for k, t in zip(keys, found.tensors.values(), strict=True)}


def without(state: State, part: str) -> State:
    return {key: value for key, value in state.items() if part not in key}


def linears(state: State, *, square: bool) -> list[str]:
    return [key for key, value in state.items() if value.ndim == 2 and (value.shape[0] == value.shape[1]) == square]


def turned(state: State, keys: list[str]) -> State:
    return {key: value.T if key in keys else value for key, value in state.items()}


def wider(state: State, key: str) -> State:
    return state | {key: np.concatenate([state[key], state[key]])}


RIGHT: dict[str, Callable[[State, State], State]] = {
    "torch": lambda torch_, _: torch_,
    "paddle": lambda _, paddle_: paddle_,
    "torch behind module": lambda torch_, _: {f"module.{k}": v for k, v in torch_.items()},
    "paddle behind netG": lambda _, paddle_: {f"netG.{k}": v for k, v in paddle_.items()},
    "torch's layout, Paddle's names": lambda torch_, paddle_: dict(zip(paddle_, torch_.values(), strict=True)),
    "Paddle's layout, torch's names": lambda torch_, paddle_: dict(zip(torch_, paddle_.values(), strict=True)),
    "in float64": lambda torch_, _: {k: v.astype(np.float64) for k, v in torch_.items()},
}
WRONG: dict[str, Callable[[State], State]] = {
    "one Linear turned": lambda s: turned(s, linears(s, square=False)[:1]),
    "all but one Linear turned": lambda s: turned(s, linears(s, square=False)[1:]),
    "half of the Linears turned": lambda s: turned(s, linears(s, square=False)[::2]),
    "a conv in another order": lambda s: s | {"final.4.weight": s["final.4.weight"].transpose(2, 3, 1, 0)},
    "a wider tail": lambda s: wider(s, "final.1.weight"),
    "a wider predictor": lambda s: wider(s, "predictor.encoder.0.conv.weight"),
    "a longer bias": lambda s: wider(s, "mask.5.bias"),
    "no mask": lambda s: without(s, "mask."),
    "no statistics": lambda s: without(s, "running_"),
    "a layer more": lambda s: s | {"final.8.weight": np.ones((3, 3, 3, 3), np.float32)},
    "the same tensor twice": lambda s: s | {"final.2._mean": s["final.2.running_mean"] + 1},
    "variances and deviations": lambda s: s | {"final.2.running_var": -s["final.2.running_var"]},
}


@pytest.mark.parametrize("name", list(RIGHT))
def test_conventions(tmp_path: Path, demo_iin: Checkpoint, name: str) -> None:
    path = tmp_path / "iin.pdparams"
    state = RIGHT[name](dict(demo_iin.tensors), paddle(demo_iin))
    path.write_bytes(pickle.dumps({key: np.ascontiguousarray(value) for key, value in state.items()}, 4))
    found = checkpoint.load(path, expect="iin")
    for key, expected in demo_iin.tensors.items():
        np.testing.assert_array_equal(found.tensors[key], expected, err_msg=key)


@pytest.mark.parametrize("name", list(WRONG))
def test_checkpoints_that_nearly_match(demo_iin: Checkpoint, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"does not match the MobileFaceSwap \(IIN\) definition"):
        checkpoint.from_state(WRONG[name](dict(demo_iin.tensors)), expect="iin", source="x", sha256="0" * 64)


def as_torch(state: State, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in state.items()}


@pytest.mark.parametrize("prefixes", [("netArc.", "netG."), ("arcface.", ""), ("", "iin."), ("m.a.", "m.g.")])
def test_both_networks_in_one_file_are_both_right(
    tmp_path: Path, demo_iin: Checkpoint, arcface: Embedder, prefixes: tuple[str, str]
) -> None:
    path = tmp_path / "both.pth"
    both = (arcface.checkpoint, demo_iin)
    merged = [as_torch(dict(one.tensors), prefix) for one, prefix in zip(both, prefixes, strict=True)]
    torch.save(merged[0] | merged[1], path)
    for expected in both:
        found = checkpoint.load(path, expect=expected.network)
        for key, tensor in expected.tensors.items():
            np.testing.assert_array_equal(found.tensors[key], tensor, err_msg=key)


@pytest.mark.parametrize(("network", "expect"), [("arcface", "iin"), ("iin", "arcface")])
@pytest.mark.parametrize("prefix", ["", "module.", "netG.", "netArc."])
def test_swapped_files(network: str, expect: str, prefix: str) -> None:
    state = {prefix + key: np.broadcast_to(np.float32(1), s) for key, s in spec.NETWORK_SHAPES[network]().items()}
    with pytest.raises(MfsEdgeError, match="swapped"):
        checkpoint.from_state(state, expect=expect, source="x", sha256="0" * 64)
