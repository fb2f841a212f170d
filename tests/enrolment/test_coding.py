"""A payload's order, layout, factors and type, there and back."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge import enrolment, precisions, sample
from mfs_edge.base import images
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.base.progress import Recorded
from mfs_edge.base.runs import Run as Place
from mfs_edge.enrolment import Plan, Run, Trunk, coded, decoded, plain
from mfs_edge.enrolment.layers import Layers
from mfs_edge.fold import fold
from mfs_edge.graph.session import Session
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.networks import spec
from mfs_edge.quantize import neighbours
from mfs_edge.quantize.coding import Coding, Part
from mfs_edge.sample import weights

KEYS = ("Encoder.0.0.weight", "mask.0.1.weight", "final.1.weight")


def stub() -> tuple[Trunk, dict[str, np.ndarray]]:
    """Tensors that are constants but for a zero of the crop, so that only the end is tested."""
    rng = np.random.default_rng(0)
    net, crop = Layers(), ir.val("crop", dtype=ir.DataType.FLOAT, shape=[1, 3, 224, 224])
    nothing = net.op("nothing", "Mul", net.op("mean", "GlobalAveragePool", crop), net.constant("zero", 0.0))
    one = net.conv("one", nothing, np.zeros((1, 3, 1, 1), np.float32))
    wanted, values = {}, {}
    for key in KEYS:
        shape = spec.local_shapes()[key]
        wanted[key] = rng.standard_normal(shape).astype(np.float32)
        held = wanted[key].transpose(1, 0, 2, 3) if shape[1] == 1 else wanted[key]
        values[key] = net.op(f"{key}.made", "Add", net.constant(f"{key}.held", held), one)
    return Trunk(net, crop, values), wanted


def part(key: str, factors: np.ndarray | None = None, stored: str = "float32") -> Part:
    one, shape = np.ones((1, 1, 1, 1)), spec.local_shapes()[key]
    return Part(key, (("", max(shape[:2])),), one, one if factors is None else factors, stored)


def payload(trunk: Trunk, plan: Plan) -> np.ndarray:
    return Session(coded(trunk, plan)).run({"crop": np.zeros((1, 3, 224, 224), np.float32)})["payload"]


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (1, 2, 3, 0), (0, 2, 3, 1), (3, 1, 0, 2)])
def test_any_order_and_layout(axes: tuple[int, int, int, int]) -> None:
    trunk, wanted = stub()
    plan = Plan(tuple(part(key) for key in KEYS), tuple(Run(key, axes) for key in reversed(KEYS)))
    found = payload(trunk, plan)
    np.testing.assert_array_equal(found, np.concatenate([wanted[k].transpose(axes).ravel() for k in reversed(KEYS)]))
    for key, tensor in decoded(found, plan).items():
        np.testing.assert_array_equal(tensor, wanted[key])


def test_factors_of_either_axis() -> None:
    trunk, wanted = stub()
    factors = {
        KEYS[0]: np.array([2.0, 0.5, 4.0]).reshape(3, 1, 1, 1),
        KEYS[1]: np.full((1, 1, 1, 1), 8.0),
        KEYS[2]: 2.0 ** np.arange(-16, 16).reshape(1, 32, 1, 1),
    }
    plan = Plan(tuple(part(key, factors[key]) for key in KEYS), tuple(Run(key, (1, 2, 3, 0)) for key in KEYS))
    found = payload(trunk, plan)
    expected = [(wanted[k] * factors[k]).astype(np.float32).transpose(1, 2, 3, 0).ravel() for k in KEYS]
    np.testing.assert_array_equal(found, np.concatenate(expected))
    for key, tensor in decoded(found, plan).items():
        np.testing.assert_array_equal(tensor, wanted[key])


def test_half_precision_rounds_to_nearest_even() -> None:
    trunk, wanted = stub()
    parts = tuple(part(key, stored="float16") for key in KEYS)
    plan = Plan(parts, tuple(Run(key) for key in KEYS), dtype="float16")
    found = payload(trunk, plan)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, np.concatenate([wanted[k].astype(np.float16).ravel() for k in KEYS]))


def test_the_plain_plan_holds_25264_numbers_and_nothing_else_is_decoded() -> None:
    assert plain().count == 25_264
    for count in (0, 25_263, 25_265):
        with pytest.raises(InputError, match="25264"):
            decoded(np.zeros(count, np.float32), plain())


def places(coding: Coding) -> list[Place]:
    """As a target might store them."""
    found, at = [], 0
    for part in coding.parts:
        shape = spec.local_shapes()[part.name]
        size = int(np.prod(shape)) * np.dtype(part.stored).itemsize
        found.append(Place("file", at, size, part.name, part.stored, (2, 3, 1, 0) if shape[1] == 1 else (0, 1, 2, 3)))
        at += size
    return found


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_network_writes_what_a_pack_of_that_base_holds(
    demo_iin: Checkpoint, demo_identities: list[Identity], precision: str
) -> None:
    """Of a base of two others; halves differ by a power of two per tensor at most, and both by a rounding."""
    base = precisions.Base.of([fold(demo_iin, one) for one in demo_identities[1:3]], size=32, optimize=1)
    pictures = precisions.pictures(None, [precision], size=32, steps=Recorded())
    coding = precisions.make(base, precision, pictures, min_psnr=None, steps=Recorded()).coding
    assert coding is not None
    plan = enrolment.of_base(coding, places(coding), "file")
    model = coded(enrolment.trunk(weights.checkpoint("arcface").tensors, demo_iin.tensors), plan)
    crop = images.to_nchw(sample.identity_picture(0))
    found = Session(model).run({"crop": crop})["payload"]
    assert (found.dtype.name, found.nbytes) == (plan.dtype, plan.bytes)
    wanted, at = coding.owned(fold(demo_iin, weights.identity(0)).weights("identity-local")), 0
    for run in plan.runs:
        expected = wanted[run.key].astype(np.float64)
        laid_out = found[at : at + expected.size].astype(np.float64).reshape([expected.shape[i] for i in run.axes])
        ours, at = laid_out.transpose(np.argsort(run.axes)), at + expected.size
        start, axis = 0, int(expected.shape[1] > 1)
        for _, count in plan.part(run.key).sources:  # each source's scalar is a tensor's own
            held, whole = (np.take(a, range(start, start + count), axis).ravel() for a in (ours, expected))
            start += count
            ratio = float(held @ whole / (whole @ whole))
            if precision == "fp16":
                held, ratio = held / ratio, 1.0
            off = np.abs(held - whole)
            assert ratio == pytest.approx(1, abs=0.01)
            assert off.max() <= {"fp32": 2e-5, "fp16": 4e-3 * np.abs(whole).max(), "int8": 3.0}[precision]
            if precision == "int8":
                assert np.mean(off > 1) < 0.05
    if precision == "int8":
        assert np.abs(found.astype(int)).max() <= 127
        assert neighbours.largest(found[-256:].astype(np.float64).reshape(8, 32, 1, 1)).max() <= neighbours.LIMIT


def test_numbers_of_two_types_are_refused(demo_iin: Checkpoint, demo_identities: list[Identity]) -> None:
    base = precisions.Base.of([fold(demo_iin, demo_identities[0])], size=32, optimize=1)
    coding = precisions.make(base, "fp32", None, min_psnr=None, steps=Recorded()).coding
    assert coding is not None
    mixed = places(coding)
    mixed[0] = Place("file", 0, 48, mixed[0].tensor, "int8", mixed[0].axes)
    for wrong in (mixed, places(coding)[1:], []):
        with pytest.raises(UsageError, match="numbers of one type"):
            enrolment.of_base(coding, wrong, "file")
