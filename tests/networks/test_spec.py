"""The torch-free shapes against torch's modules and the official checkpoints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from mfs_edge.networks import spec
from mfs_edge.networks.arcface import ArcFace
from mfs_edge.networks.idn import IDN
from mfs_edge.networks.iin import IIN
from mfs_edge.sample import seeded

OFFICIAL = json.loads((Path(__file__).parents[1] / "golden" / "shapes.json").read_text())
MODULES = {"arcface": ArcFace, "iin": IIN}


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {k: tuple(v.shape) for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}


@pytest.mark.parametrize("network", list(MODULES))
def test_shapes_are_those_of_the_torch_module(network: str) -> None:
    assert spec.NETWORK_SHAPES[network]() == shapes_of(MODULES[network]())


@pytest.mark.parametrize("network", list(MODULES))
def test_paddle_shapes_are_those_of_the_official_checkpoint(network: str) -> None:
    assert seeded.paddle_shapes(network) == {key: tuple(shape) for key, shape in OFFICIAL[network].items()}


def test_head_shapes_are_the_idns() -> None:
    heads = {k: v for k, v in shapes_of(IDN()).items() if k.startswith(("final.", "mask."))}
    assert spec.head_shapes() == heads


def test_spec_needs_no_torch() -> None:
    code = "import sys; import mfs_edge.networks.spec; print('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"
