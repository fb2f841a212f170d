"""The quantised graph of the trained demo: what it is made of, and what it keeps of the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from mfs_edge import sample, target
from mfs_edge.base import fidelity, images
from mfs_edge.base.errors import UsageError
from mfs_edge.fold import FoldedIDN, Stage
from mfs_edge.graph import build, passes
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.quantize import execute, neighbours, quantise
from mfs_edge.quantize.calibration import load
from mfs_edge.sample.pictures import exam_pictures
from mfs_edge.target import EmitOptions
from mfs_edge.verify import damage as damage
from mfs_edge.verify.reference import reference_of
from tests.graph.passes.checker import evaluate

HELD_OUT = range(0, 32, 3)


@pytest.fixture(scope="module")
def optimised(demo_folded: FoldedIDN) -> Callable[[int], ir.Model]:
    return lambda size: passes.optimise(build.build(demo_folded.weights(), size=size))


@pytest.fixture(scope="module")
def quantised(optimised: Callable[[int], ir.Model]) -> dict[str, ir.Model]:
    calibration = load(None, 224, limit=24)
    return {name: quantise(optimised(224), calibration, precision=name).model for name in ("int8", "int8-mixed")}


@pytest.fixture(scope="module")
def judge(demo_iin: Checkpoint, demo_identities: list[Identity]) -> Callable[..., dict[str, fidelity.Fidelity]]:
    pictures = [images.to_nchw(sample.target(i)) for i in HELD_OUT]
    reference = reference_of(demo_iin, demo_identities[0])
    expected = [reference(picture) for picture in pictures]
    return lambda runner: fidelity.compare(runner, pictures, expected)


def emitted(model: ir.Model, name: str, precision: str, folder: Path) -> Path:
    backend = target.get(name)
    path = folder / f"idn-{precision}{backend.suffix}"
    backend.emit(model, path, EmitOptions(precision=precision))
    return path


@pytest.mark.parametrize(("precision", "image", "mask"), [("int8", 46, 38), ("int8-mixed", 50, 40)])
def test_the_written_file_keeps_the_picture(
    quantised: dict[str, ir.Model], judge: Callable[..., dict[str, fidelity.Fidelity]], tmp_path: Path,
    precision: str, image: float, mask: float,
) -> None:  # fmt: skip
    path = emitted(quantised[precision], "onnx", precision, tmp_path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    found = judge(target.get("onnx").load(path))
    assert found["swapped"].psnr_mean >= image
    assert found["mask"].psnr_mean >= mask


def test_litert_keeps_it_as_well_in_one_partition(
    quantised: dict[str, ir.Model], judge: Callable[..., dict[str, fidelity.Fidelity]], tmp_path: Path
) -> None:
    levels = {}
    for name in ("onnx", "tflite"):
        path = emitted(quantised["int8"], name, "int8", tmp_path)
        levels[name] = judge(target.get(name).load(path))["swapped"].psnr_mean
    assert abs(levels["tflite"] - levels["onnx"]) < 1.5
    delegate = target.get("tflite").load(tmp_path / "idn-int8.tflite").engine.coverage()
    assert (delegate["partitions"], delegate["outside"]) == (1, [])


@pytest.mark.parametrize("precision", ["int8", "int8-mixed"])
def test_no_cpu_saturates_with_what_was_written(
    quantised: dict[str, ir.Model], small: ir.Model, calibrating: list[np.ndarray], precision: str, tmp_path: Path
) -> None:
    """Of the demo and the golden network; for the other targets see their own tests."""
    for number, model in enumerate((quantised[precision], quantise(small, calibrating, precision=precision).model)):
        (folder := tmp_path / str(number)).mkdir()
        assert 120 < neighbours.require(ir.load(emitted(model, "onnx", precision, folder))) <= neighbours.LIMIT


def test_files_are_small(quantised: dict[str, ir.Model], tmp_path: Path) -> None:
    assert emitted(quantised["int8"], "onnx", "int8", tmp_path).stat().st_size <= 700_000
    assert emitted(quantised["int8"], "tflite", "int8", tmp_path).stat().st_size <= 660_000


def test_int8_has_no_float_island(quantised: dict[str, ir.Model]) -> None:
    """Whatever computes reads integers, and what it makes is rounded to integers."""
    for node in quantised["int8"].graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        # Scales and sizes are constants; everything else must come out of integers.
        sources = [value.producer() for value in node.inputs if value is not None and value.producer() is not None]
        assert {source.op_type for source in sources if source is not None} == {"DequantizeLinear"}, node.name
        assert {use.node.op_type for use in node.outputs[0].uses()} == {"QuantizeLinear"}, node.name


def test_weights_are_symmetric_and_per_channel(quantised: dict[str, ir.Model]) -> None:
    convs = [node for node in quantised["int8"].graph if node.op_type == "Conv"]
    assert len(convs) >= 29
    for conv in convs:
        weight = conv.inputs[1].producer()
        stored, scale = (value.const_value.numpy() for value in weight.inputs[:2])
        assert stored.dtype == np.int8
        assert scale.size == stored.shape[0]
        assert (scale > 0).all()
        assert stored.min() >= -127


def test_concat_operands_share_a_scale(quantised: dict[str, ir.Model]) -> None:
    for node in quantised["int8"].graph:
        if node.op_type == "Concat":
            scales = {float(value.producer().inputs[1].const_value.numpy()) for value in node.inputs}
            result = next(iter(node.outputs[0].uses())).node
            assert scales == {float(result.inputs[1].const_value.numpy())}


def test_the_float_graph_is_left_alone(optimised: Callable[[int], ir.Model]) -> None:
    model = optimised(64)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    quantise(model, load(None, 64, limit=8))
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 4])
def test_poor_calibration_gives_a_finite_graph(optimised: Callable[[int], ir.Model], value: float, count: int) -> None:
    pictures = [np.full((1, 3, 64, 64), value, np.float32)] * count
    result = quantise(optimised(64), pictures)
    for initialiser in result.model.graph.initializers.values():
        assert np.isfinite(initialiser.const_value.numpy().astype(np.float64)).all()
    outputs = evaluate(result.model, exam_pictures(64)[0])
    assert all(np.isfinite(outputs[name]).all() for name in ("swapped", "mask"))


def test_an_extreme_modulation_gives_a_finite_graph_and_an_honest_level(demo_folded: FoldedIDN) -> None:
    """Gains 1 + s with s up to 3 either way, some channels off altogether."""
    rng = np.random.default_rng(0)

    def extreme(stage: Stage) -> Stage:
        gain = 1 + rng.uniform(-3, 3, stage.gain.shape)
        return replace(stage, gain=np.where(rng.random(gain.shape) < 0.1, 0, gain))

    folded = FoldedIDN(
        tuple(map(extreme, demo_folded.encoder)), tuple(map(extreme, demo_folded.decoder)), demo_folded.heads
    )
    model = passes.optimise(build.build(folded.weights(), size=64))
    result = quantise(model, load(None, 64, limit=8))
    for initialiser in result.model.graph.initializers.values():
        assert np.isfinite(initialiser.const_value.numpy().astype(np.float64)).all()
    pictures = exam_pictures(64)
    for found, wanted in zip(execute.outputs(result.model, pictures), execute.outputs(model, pictures), strict=True):
        assert all(np.isfinite(found[name]).all() for name in wanted)
        assert fidelity.psnr(found["swapped"] - wanted["swapped"]) > 20


def test_saturation_is_a_share_per_tensor(quantised: dict[str, ir.Model]) -> None:
    rates = damage.saturation(quantised["int8"], [images.to_nchw(sample.target(0))])
    assert len(rates) > 40
    assert all(0 <= rate <= 1 for rate in rates.values())
    assert np.median(list(rates.values())) < 0.01


def test_options_that_cannot_be(optimised: Callable[[int], ir.Model]) -> None:
    with pytest.raises(UsageError, match="fp8"):
        quantise(optimised(64), [], precision="fp8")
    with pytest.raises(UsageError, match="int8-mixed"):
        quantise(optimised(64), [], precision="int8", float_nodes=["swapped"])
