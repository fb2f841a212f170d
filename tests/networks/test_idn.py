"""The static IDN in torch against the authors' outputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.networks.idn import IDN
from mfs_edge.verify.reference import reference_of

Arrays = Mapping[str, np.ndarray]


@pytest.mark.parametrize("size", [224, 256])
def test_golden_outputs(golden: Arrays, golden_iin: Checkpoint, golden_identity: Identity, size: int) -> None:
    image = golden[f"target{size}/image"].astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255)
    found = reference_of(golden_iin, golden_identity)(image)
    np.testing.assert_allclose(found["swapped"][0], golden[f"target{size}/output"], atol=5e-5, rtol=0)
    np.testing.assert_allclose(found["mask"][0], golden[f"target{size}/mask"], atol=5e-5, rtol=0)


def test_parameters_and_dynamic_convs_without_bias() -> None:
    idn = IDN()
    assert 0.49e6 < sum(parameter.numel() for parameter in idn.parameters()) < 0.51e6
    dynamic = [key for key in idn.state_dict() if key.startswith(("Encoder.", "Decoder."))]
    assert len(dynamic) == 18
    assert all(key.endswith(".weight") for key in dynamic)


@pytest.mark.parametrize("size", [32, 96])
def test_any_multiple_of_32(size: int) -> None:
    with torch.inference_mode():
        swapped, mask = IDN().eval()(torch.rand(2, 3, size, size))
    assert swapped.shape == (2, 3, size, size)
    assert mask.shape == (2, 1, size, size)
    assert 0 <= float(mask.min()) <= float(mask.max()) <= 1
