"""int8 of products: only what wide pointwise convs read is rounded, and their weights."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, edit, passes
from mfs_edge.quantize import neighbours, quantise


@pytest.fixture(scope="module")
def plain(golden_folded: FoldedIDN) -> ir.Model:
    return passes.optimise(build.build(golden_folded.weights(), size=32))


@pytest.fixture(scope="module")
def model(plain: ir.Model) -> ir.Model:
    rng = np.random.default_rng(5)
    return quantise(plain, [rng.random((1, 3, 32, 32), dtype=np.float32) for _ in range(4)], products=True).model


def test_every_wide_pointwise_conv_behind_a_depthwise_one_multiplies_integers(plain: ir.Model, model: ir.Model) -> None:
    integer = {
        str(conv.name)
        for conv in edit.of_type(model.graph, "Conv")
        if edit.producer(conv.inputs[0], "DequantizeLinear") is not None
    }
    wide = set()
    for conv in edit.of_type(plain.graph, "Conv"):
        source = edit.producer(conv.inputs[0], "Conv")
        if edit.is_pointwise(conv) and source is not None and min(edit.weight(conv, 1).shape[:2]) >= 16:
            wide.add(str(conv.name))
    assert integer == wide
    assert len(integer) == 11


def test_nothing_but_what_they_read_is_rounded(model: ir.Model) -> None:
    for rounded in edit.of_type(model.graph, "QuantizeLinear"):
        restored = edit.only_consumer(rounded.outputs[0])
        assert restored is not None
        reader = edit.only_consumer(restored.outputs[0])
        assert reader is not None
        source = edit.producer(rounded.inputs[0], "Conv")
        assert source is not None
        assert edit.group(source) > 1
        assert edit.producer(reader.inputs[1], "DequantizeLinear") is not None
    assert len(list(edit.of_type(model.graph, "QuantizeLinear"))) == 11


def test_neighbours_stay_inside_sixteen_bits(model: ir.Model) -> None:
    assert 0 < neighbours.require(model) <= neighbours.LIMIT
