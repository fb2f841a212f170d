"""Equalisation changes ranges, and nothing that the graph computes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge.graph import edit
from mfs_edge.quantize import centre, equalise, execute, layout, split_leaky
from mfs_edge.quantize.samples import Sample, collect
from tests.graph.passes.checker import evaluate


@pytest.fixture(scope="module")
def equalised(small: ir.Model, seen: dict[str, Sample]) -> tuple[ir.Model, dict[str, Sample]]:
    return equalise.equalise(small, seen)


@pytest.mark.parametrize("number", range(4))
def test_the_outputs_are_the_same(
    small: ir.Model, equalised: tuple[ir.Model, dict[str, Sample]], judging: list[np.ndarray], number: int
) -> None:
    (before,) = execute.outputs(small, [judging[number]])
    (after,) = execute.outputs(equalised[0], [judging[number]])
    for name, value in before.items():
        assert np.abs(after[name] - value).max() < 2e-5


def spread(values: np.ndarray) -> float:
    """The widest channel's range over the median one's."""
    extent = values.max(axis=(0, 2, 3)) - values.min(axis=(0, 2, 3))
    return float(extent.max() / np.median(extent))


@pytest.mark.parametrize("name", ["encoder.2.leaky", "decoder.2.leaky", "mask.1.leaky"])
def test_channels_get_similar_ranges(
    small: ir.Model, equalised: tuple[ir.Model, dict[str, Sample]], calibrating: list[np.ndarray], name: str
) -> None:
    before, after = (
        np.concatenate([evaluate(model, picture)[name] for picture in calibrating]) for model in (small, equalised[0])
    )
    assert spread(after) < 0.8 * spread(before)
    assert after.max() == pytest.approx(1, abs=1e-3)


def test_depthwise_outputs_are_centred(
    equalised: tuple[ir.Model, dict[str, Sample]], calibrating: list[np.ndarray]
) -> None:
    values = np.concatenate([evaluate(equalised[0], picture)["encoder.3.depthwise"] for picture in calibrating])
    middle = (values.max(axis=(0, 2, 3)) + values.min(axis=(0, 2, 3))) / 2
    assert np.abs(middle).max() < 1e-3
    assert np.abs(values).max() <= 1 / 1.1 + 1e-3  # the headroom is left free


def test_samples_follow(equalised: tuple[ir.Model, dict[str, Sample]], calibrating: list[np.ndarray]) -> None:
    """What is known of the equalised graph without running it is what running it gives."""
    measured = collect([equalised[0]], calibrating)
    for name, sample in equalised[1].items():
        if name in measured and "up" not in name:
            scale = np.abs(measured[name].high).max() + np.abs(measured[name].low).max()
            assert np.abs(sample.high - measured[name].high).max() < 1e-4 * scale
            assert np.abs(sample.low - measured[name].low).max() < 1e-4 * scale


def test_dead_and_quiet_channels_stay_finite(small: ir.Model, calibrating: list[np.ndarray]) -> None:
    copy = small.clone()
    conv = next(node for node in copy.graph if node.name == "encoder.1.pointwise")
    weight = edit.weight(conv, 1)
    weight[:5] = 0
    weight[5:9] *= 1e-20
    edit.set_weight(copy.graph, conv, 1, weight)
    model, _ = equalise.equalise(copy, collect([copy], calibrating))
    for initialiser in model.graph.initializers.values():
        assert np.isfinite(initialiser.const_value.numpy().astype(np.float64)).all()
    (before,), (after,) = (execute.outputs(graph, calibrating[:1]) for graph in (copy, model))
    assert np.abs(before["swapped"] - after["swapped"]).max() < 2e-5


def test_halves_compute_the_same(small: ir.Model, judging: list[np.ndarray]) -> None:
    halved = split_leaky.split(small)
    split = [node for node in halved.graph if node.op_type == "Relu"]
    assert [node.name for node in split] == ["mask.4.leaky", "tail.1.leaky"]
    for before, after in zip(execute.outputs(small, judging), execute.outputs(halved, judging), strict=True):
        for name, value in before.items():
            assert np.abs(after[name] - value).max() < 2e-6


def test_float_nodes_are_not_halved(small: ir.Model) -> None:
    halved = split_leaky.split(small, ["tail.1.leaky"])
    assert [node.name for node in halved.graph if node.op_type == "Relu"] == ["mask.4.leaky"]


def test_the_image_is_centred_in_whole_steps(small: ir.Model, judging: list[np.ndarray]) -> None:
    """Its codes are the image's own; only the border's padding differs, by half a step."""
    moved = centre.in_whole_steps(small)
    grid = layout.find(moved).fixed["normalise.centre"]
    bytes_ = np.rint(judging[0] * 255) / np.float32(255)
    centred = evaluate(moved, bytes_)["normalise.centre"]
    assert np.abs(centred / grid.scale - np.rint(centred / grid.scale)).max() < 1e-3
    first = [evaluate(model, bytes_)["encoder.0.depthwise"] for model in (small, moved)]
    assert np.abs(first[0] - first[1])[..., 1:-1, 1:-1].max() < 1e-4
    assert np.abs(first[0] - first[1]).max() < 0.1


def test_a_float_conv_keeps_its_centring(small: ir.Model) -> None:
    left = centre.in_whole_steps(small, ["encoder.0.depthwise"])
    assert [node.name for node in left.graph] == [node.name for node in small.graph]
    sub = next(node for node in left.graph if node.name == "normalise.centre")
    assert float(sub.inputs[1].const_value.numpy()) == 0.5
