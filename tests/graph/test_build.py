"""The plain graph is the paper's network, node for node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from mfs_edge.base.errors import UsageError
from mfs_edge.fold import FORMS, FoldedIDN
from mfs_edge.graph.build import build
from mfs_edge.networks import loading
from mfs_edge.networks.idn import IDN
from mfs_edge.networks.spec import check_size
from tests.graph.conftest import golden_image, random_images, runner
from tests.graph.torch_evaluator import evaluate

Plain = Callable[[int], ir.Model]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [224, 256])
def test_golden_outputs(golden: dict[str, np.ndarray], golden_folded: FoldedIDN, form: str, size: int) -> None:
    outputs = runner(build(golden_folded.weights(form), size=size))(golden_image(golden, size))
    for name, key in (("swapped", "output"), ("mask", "mask")):
        assert np.abs(outputs[name][0] - golden[f"target{size}/{key}"]).max() <= 5e-5


def test_agrees_with_torch_in_float64(golden_folded: FoldedIDN) -> None:
    weights, image = golden_folded.weights(), random_images(96, 1)[0]
    idn = loading.instantiate(IDN, weights, dtype=torch.float64)
    swapped, mask = idn(torch.from_numpy(image).double())
    found = evaluate(build({key: value.astype(np.float64) for key, value in weights.items()}, size=96), image)
    # ONNX keeps a slope of 0.1 and an epsilon of 1e-5 in float32; torch has them in float64.
    np.testing.assert_allclose(found["swapped"], swapped.numpy(), atol=1e-7, rtol=0)
    np.testing.assert_allclose(found["mask"], mask.numpy(), atol=1e-7, rtol=0)


@pytest.mark.parametrize("size", [32, 224, 256, 320])
def test_is_valid(plain: Plain, size: int) -> None:
    model = plain(size)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert all(value.shape is not None for node in model.graph for value in node.outputs)
    assert [(value.name, list(value.shape)) for value in model.graph.outputs] == [
        ("swapped", [1, 3, size, size]),
        ("mask", [1, 1, size, size]),
    ]


def test_names(plain: Plain, golden_folded: FoldedIDN) -> None:
    model = plain(64)
    names = [node.name for node in model.graph]
    assert names == [node.outputs[0].name for node in model.graph]
    assert max(Counter(names).values()) == 1
    assert golden_folded.weights().keys() <= model.graph.initializers.keys()


@pytest.mark.parametrize(("size", "hint"), [(100, 96), (0, 32), (-32, 32), (31, 32), (5000, 4096)])
def test_a_size_that_does_not_work(size: int, hint: int) -> None:
    with pytest.raises(UsageError, match=rf"size {size} does not work: .* try {hint} "):
        check_size(size)
