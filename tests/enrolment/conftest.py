"""The golden networks as enrolment graphs in each precision, and what the torch path reads from the golden face."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
import pytest
import torch

from mfs_edge import enrolment
from mfs_edge.base.fidelity import psnr
from mfs_edge.enrolment import storage
from mfs_edge.fold import FoldedIDN
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.networks import loading
from mfs_edge.networks.idn import IDN

Arrays = Mapping[str, np.ndarray]


def crop_of(picture: np.ndarray) -> np.ndarray:
    """uint8 [112 or 224, same, 3] -> float32 [1, 3, 224, 224]; the halving of a doubled picture is the picture."""
    times = 224 // len(picture)
    doubled = picture.repeat(times, axis=0).repeat(times, axis=1)
    return np.ascontiguousarray(doubled.transpose(2, 0, 1)[None], np.float32) / 255


@pytest.fixture(scope="session")
def golden_crop(golden: Arrays) -> np.ndarray:
    return crop_of(golden["identity/image"])


@pytest.fixture(scope="session")
def stored(golden_arcface: Checkpoint, golden_iin: Checkpoint) -> Callable[[str], ir.Model]:
    """The golden graph in a precision; made once each."""
    made: dict[str, ir.Model] = {}

    def get(precision: str) -> ir.Model:
        if precision not in made:
            trunk = enrolment.trunk(golden_arcface.tensors, golden_iin.tensors)
            made[precision] = storage.store(enrolment.coded(trunk, enrolment.plain()), precision)
        return made[precision]

    return get


@pytest.fixture(scope="session")
def level(golden: Arrays, golden_folded: FoldedIDN) -> Callable[[np.ndarray], float]:
    """dB of the golden target swapped with a payload [N], against the reference."""
    weights = golden_folded.weights("identity-local")
    pixels = golden["target224/image"].astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255)

    def swapped(local: Arrays) -> np.ndarray:
        return loading.instantiate(IDN, {**weights, **local})(torch.from_numpy(pixels))[0].numpy()

    wanted = swapped({})
    np.testing.assert_allclose(wanted[0], golden["target224/output"], atol=5e-5, rtol=0)

    def judge(payload: np.ndarray) -> float:
        return psnr(swapped(enrolment.decoded(payload, enrolment.plain())) - wanted)

    return judge
