"""Several networks in one file: which is taken, what is told, and how another is chosen."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mfs_edge.base.errors import CheckpointError, UsageError
from mfs_edge.load import checkpoint
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.networks import spec


def state(network: str, prefix: str = "", fill: float = 0.0) -> dict[str, torch.Tensor]:
    """A valid state whose tensors take no space in memory: one value each, repeated."""
    shapes = spec.NETWORK_SHAPES[network]()
    return {prefix + key: torch.full((1,), float(fill)).expand(shape) for key, shape in shapes.items()}


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def value_of(found: Checkpoint) -> float:
    values = {float(tensor.flat[0]) for tensor in found.tensors.values()}
    assert len(values) == 1
    return values.pop()


BOTH = {
    "flat": lambda: {**state("arcface", "netArc.", 1), **state("iin", "netG.", 2)},
    "flat behind module": lambda: {**state("arcface", "module.netArc.", 1), **state("iin", "module.netG.", 2)},
    "nested": lambda: {"netArc": state("arcface", fill=1), "netG": state("iin", fill=2), "epoch": 3},
    "nested twice": lambda: {"models": {"id": state("arcface", "module.", 1), "gen": state("iin", fill=2)}},
    "one at the root": lambda: {**state("iin", fill=2), **state("arcface", "arcface.", 1)},
    "one dict, one flat": lambda: {"state_dict": state("iin", "net.", 2), **state("arcface", "arc.", 1)},
}


@pytest.mark.parametrize("name", list(BOTH))
def test_both_networks_in_one_file(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / "both.pth", BOTH[name]())
    for network, value in (("arcface", 1), ("iin", 2)):
        found = checkpoint.load(path, expect=network)
        assert (found.network, value_of(found)) == (network, value)
        assert "beside" in found.told
        assert found.notes == ()  # what is asked for is there once: nothing was chosen
    assert checkpoint.load(path).network == "iin"
    names = {network: checkpoint.load(path, expect=network).prefix.rstrip(".") for network in ("arcface", "iin")}
    for network, prefix in names.items():
        if prefix.startswith(("net", "arc")):  # asked for by name, without a word of which network it is
            assert checkpoint.load(f"{path}#{prefix}").network == network


def test_an_average_beside_the_weights_is_told_and_can_be_chosen(tmp_path: Path) -> None:
    stored = {"model": state("iin", fill=1), "ema": state("iin", "module.", 2), "n_averaged": torch.tensor(7)}
    path = saved(tmp_path / "iin.pth", stored)
    found = checkpoint.load(path, expect="iin")
    assert value_of(found) == 1
    assert found.notes == (
        "iin.pth: model was taken, ema.module stands beside it; to take that: --checkpoint FILE#ema.module",
    )
    for name in ("ema", "ema.module"):
        chosen = checkpoint.load(f"{path}#{name}", expect="iin")
        assert (value_of(chosen), chosen.source, chosen.notes) == (2, f"iin.pth#{name}", ())
    with pytest.raises(CheckpointError, match=r"has no MobileFaceSwap \(IIN\) called swa; there is: ema.module, model"):
        checkpoint.load(f"{path}#swa", expect="iin")


@pytest.mark.parametrize("names", [("netG", "netG_ema"), ("a.b", "a.c"), ("first", "second")])
def test_without_a_usual_name_the_user_chooses(tmp_path: Path, names: tuple[str, str]) -> None:
    for nested in (False, True):
        states = [state("iin", "" if nested else f"{name}.", fill) for fill, name in enumerate(names)]
        stored = dict(zip(names, states, strict=True)) if nested else states[0] | states[1]
        path = saved(tmp_path / "iin.pth", stored)
        with pytest.raises(CheckpointError, match=rf"several state dicts \({names[0]}, {names[1]}\); choose .*FILE#"):
            checkpoint.load(path, expect="iin")
        for fill, name in enumerate(names):
            assert value_of(checkpoint.load(f"{path}#{name}", expect="iin")) == fill


def test_a_file_whose_name_has_a_hash_sign_is_read_as_it_is(tmp_path: Path) -> None:
    path = saved(tmp_path / "run#3.pth", {"ema": state("iin", fill=2)})
    assert value_of(checkpoint.load(path)) == 2
    assert value_of(checkpoint.load(f"{path}#ema")) == 2


COUNTERS = {
    "n_averaged": torch.tensor(5),
    "n_averaged of one": torch.tensor([5]),
    "a step in int32": torch.tensor(5, dtype=torch.int32),
    "a loss": torch.tensor(0.25),
    "a numpy loss": np.float64(0.25),
    "a numpy step": np.int64(3),
    "flags": torch.tensor([True, False]),
}


@pytest.mark.parametrize("name", list(COUNTERS))
@pytest.mark.parametrize("legacy", [False, True])
def test_counters_and_single_numbers_do_no_harm(tmp_path: Path, name: str, legacy: bool) -> None:
    path = tmp_path / "iin.pth"
    stored = {"counter": COUNTERS[name], **state("iin", "module.", 1)}
    torch.save(stored, path, _use_new_zipfile_serialization=not legacy)
    assert value_of(checkpoint.load(path, expect="iin")) == 1
    torch.save({"best": COUNTERS[name], "model": state("iin", fill=1)}, path)
    assert value_of(checkpoint.load(path, expect="iin")) == 1


def test_what_is_ignored_is_told(tmp_path: Path) -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    optimizer.step()
    discriminator = {"netD.conv.weight": torch.ones(3, 3)}
    stored = {**state("iin", "netG."), **discriminator, "optimizer": optimizer.state_dict()}
    told = checkpoint.load(saved(tmp_path / "iin.pth", stored), expect="iin").told
    assert told.startswith("MobileFaceSwap (IIN) under netG; ignored: netD, optimizer.state")


def test_a_tensor_that_could_be_the_networks_is_not_ignored(tmp_path: Path) -> None:
    stored = {**state("iin", "netG."), "other.mask.5.bias": torch.ones(1)}
    with pytest.raises(CheckpointError, match=r"1 problem: unexpected other\.mask\.5\.bias"):
        checkpoint.load(saved(tmp_path / "iin.pth", stored))


def test_the_hash_of_the_file_is_compared(tmp_path: Path) -> None:
    path = saved(tmp_path / "iin.pth", state("iin"))
    digest = checkpoint.load(path).sha256
    given = checkpoint.expected(f" SHA256:{digest.upper()} ".replace("SHA256", "sha256"))
    assert checkpoint.load(path, sha256=given).sha256 == digest
    assert f"sha256 {digest}" in checkpoint.load(path).read
    with pytest.raises(CheckpointError, match=f"has sha256 {digest}, which is not what --sha256 gives"):
        checkpoint.load(path, sha256={"0" * 64})
    for bad in ("", digest[:-1], digest + "0", "g" * 64, "\x1b[2J"):
        with pytest.raises(UsageError, match="is not a SHA-256 hash"):
            checkpoint.expected(bad)


def test_ordered_and_default_dicts_are_wrappers_too(tmp_path: Path) -> None:
    nested = collections.defaultdict(dict, {"netG": collections.OrderedDict(state("iin", fill=3))})
    assert value_of(checkpoint.load(saved(tmp_path / "iin.pth", nested))) == 3
