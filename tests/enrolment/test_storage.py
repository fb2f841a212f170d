"""Weights in float16 and int8, and what they leave of the golden face."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge.base.errors import UsageError
from mfs_edge.enrolment import storage
from mfs_edge.graph import edit
from mfs_edge.graph.session import Session


@pytest.mark.parametrize(("precision", "least", "megabytes"), [("fp16", 50, 147), ("int8", 40, 76)])
def test_the_golden_face(
    stored: Callable[[str], ir.Model], level: Callable[[np.ndarray], float], golden_crop: np.ndarray,
    precision: str, least: float, megabytes: float,
) -> None:  # fmt: skip
    model = stored(precision)
    held = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    assert held <= (megabytes - 0.8) * 1e6  # the rest is for what a format says of its operators
    assert level(Session(model).run({"crop": golden_crop})["payload"]) >= least


def test_int8_keeps_the_front_in_half_precision(stored: Callable[[str], ir.Model]) -> None:
    kinds = {
        str(conv.name): producer.op_type if (producer := conv.inputs[1].producer()) else "stored"
        for conv in edit.of_type(stored("int8").graph, "Conv")
        if conv.inputs[1] is not None
    }
    assert {kinds[name] for name in ("conv1", "layer1.0.conv1", "layer2.3.conv2")} == {"Cast"}
    assert {kinds[name] for name in ("layer3.9.conv1", "layer4.2.conv2", "fc", "predictor.first")} == {
        "DequantizeLinear"
    }


@pytest.mark.parametrize("value", [0.0, 1e-30, 1.0, 3e38])
def test_codes_of_any_range(value: float) -> None:
    weight = (np.random.default_rng(0).uniform(-1, 1, (4, 3, 2, 2)) * value).astype(np.float32)
    codes, scale = storage.quantised(weight)
    assert np.abs(codes.astype(int)).max() <= 127
    assert np.isfinite(scale).all()
    assert (scale > 0).all()
    error = np.abs(weight.astype(np.float64) - codes * scale[:, None, None, None].astype(np.float64))
    assert error.max() <= value * (1 - 0.88 + 1 / 254) * 1.01


def test_clipping_a_lone_outlier_is_found_where_it_helps() -> None:
    weight = np.random.default_rng(0).uniform(-0.88, 0.88, (1, 64, 8, 8)).astype(np.float32)
    weight[0, 0, 0, 0] = 0.91
    assert storage.quantised(weight)[1][0] < 0.91 / 127


def test_another_precision_is_refused(stored: Callable[[str], ir.Model]) -> None:
    with pytest.raises(UsageError, match="fp32, fp16, int8"):
        storage.store(stored("fp32"), "int4")
